"""Any `FuncEnv` of Gymnasium's functional API as an on-device environment."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from gymnasium.experimental.functional import FuncEnv

from pgcli.arrays.shapes import Array
from pgcli.envs.actions import assemble
from pgcli.envs.base import DeviceEnv, Step
from pgcli.envs.device.adapter_support import from_reset_and_step
from pgcli.envs.spaces import make_spec


def from_func_env(
    id: str, func: Any, params: Any, limit: int, action_dtype: str | None = None
) -> DeviceEnv:
    """An on-device environment from a Gymnasium `FuncEnv`, with a time limit.

    `params` is the last argument of its functions, unless it is None. Actions have its
    space's own dtype, or `action_dtype`.
    """
    spec = make_spec(id, func.observation_space, func.action_space, limit)
    # in the dtype of its own space, at the width that JAX computes in
    dtypes = jax.tree.map(
        jax.dtypes.canonicalize_dtype, action_dtype or spec.action_dtype
    )
    # passed as the last argument of every function
    more = () if params is None else (params,)

    # the state is (state, elapsed steps)
    def reset(key: Array) -> tuple[Any, Any]:
        state_key, obs_key = jax.random.split(key)
        state = func.initial(state_key, *more)
        return (state, jnp.int32(0)), func.observation(state, obs_key, *more)

    def step(key: Array, state: Any, action: Any) -> tuple[Any, Step]:
        # one key per function: transition, observation, terminal, reward
        inner, elapsed = state
        move, see, end, pay = jax.random.split(key, 4)
        action = jax.tree.map(jnp.asarray, action, dtypes)
        if spec.action_structure is not None:
            action = assemble(spec.action_structure, action)
        after = func.transition(inner, action, move, *more)
        terminated = func.terminal(after, end, *more)
        reward = func.reward(inner, action, after, pay, *more)
        obs = func.observation(after, see, *more)
        cut = elapsed + 1 >= limit
        return (after, elapsed + 1), Step(obs, reward, terminated, cut)

    env = from_reset_and_step(spec, reset, step)
    return env._replace(cuts_at_limit_only=True, render=_pictures(func, more))


def _pictures(func: Any, more: tuple[Any, ...]) -> Callable[[Any], Any] | None:
    """State -> picture by the environment's own functions, or None without them."""
    if type(func).render_image is FuncEnv.render_image:
        return None
    screen: list[Any] = []

    def picture(state: Any) -> Any:
        if not screen:
            screen.append(func.render_init(*more))
        screen[0], frame = func.render_image(state[0], screen[0], *more)
        return frame

    return picture
