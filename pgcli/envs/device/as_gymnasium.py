"""An on-device environment as a Gymnasium environment, for users' programs."""

from typing import Any

import gymnasium
import jax
import numpy as np

from pgcli.envs.base import DeviceEnv, Space
from pgcli.envs.spaces import action_to_gymnasium, by_part, to_gymnasium


class AsGymnasium(gymnasium.Env[Any, Any]):
    """One on-device environment, with compiled resets and steps."""

    def __init__(self, env: DeviceEnv) -> None:
        self.device_env = env
        self.observation_space = to_gymnasium(env.spec.obs)
        self.action_space = action_to_gymnasium(env.spec)
        self._reset, self._step = jax.jit(env.reset), jax.jit(env.step)
        self._state: Any = None
        self.render_mode = None if env.render is None else "rgb_array"
        self.metadata = {"render_modes": ["rgb_array"], "render_fps": round(env.fps)}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The first observation of an episode, and an empty info."""
        super().reset(seed=seed)
        self._state, obs = self._reset(self._key())
        return jax.tree.map(np.asarray, obs), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """The outcome of one step."""
        space = self.device_env.spec.action
        if isinstance(space, Space):
            values: Any = np.asarray(action, space.dtype)
        else:
            parts = by_part(action)
            values = {k: np.asarray(parts[k], x.dtype) for k, x in space.items()}
        self._state, (obs, *rest) = self._step(self._key(), self._state, values)
        reward, terminated, truncated = jax.device_get(rest)
        obs = jax.tree.map(np.asarray, obs)
        return obs, float(reward), bool(terminated), bool(truncated), {}

    def render(self) -> Any:
        """A picture [H, W, 3] of the state, or None if there are none."""
        draw = self.device_env.render
        return None if draw is None else draw(jax.device_get(self._state))

    def _key(self) -> Any:
        """Another key of the seed of the last reset that had one."""
        return jax.random.key(int(self.np_random.integers(2**32)))
