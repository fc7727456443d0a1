"""On-device environments that break their contract in one way each."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from gymnasium import spaces
from gymnasium.experimental.functional import FuncEnv


class Plain(FuncEnv[Any, Any, Any, Any, Any, Any, Any]):
    """Counts steps; nothing is wrong."""

    observation_space: spaces.Space[Any] = spaces.Box(-np.inf, np.inf, (2,))
    action_space: spaces.Space[Any] = spaces.Discrete(2)
    max_episode_steps = 30

    def initial(self, rng: Any, params: Any = None) -> Any:
        return jnp.zeros(2)

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        return state + jnp.array([0.1, 0.0])

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state

    def reward(self, state: Any, action: Any, *more: Any) -> Any:
        return jnp.float32(1)

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state[0] > 2


class Reward1(Plain):
    def reward(self, state: Any, action: Any, *more: Any) -> Any:
        return jnp.ones(1)


class Terminal1(Plain):
    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state[:1] > 2


class TerminalFloat(Plain):
    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state[0] - 2


class WrongShape(Plain):
    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state[:1]


class Bytes(Plain):
    """300 would become 44."""

    observation_space = spaces.Box(0, 255, (2,), np.uint8)

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.array([300, -1])


class Half(Plain):
    """A part of a category would be cut off."""

    observation_space = spaces.Discrete(3)

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state[0]


class Keys(Plain):
    observation_space = spaces.Dict(
        a=spaces.Box(-np.inf, np.inf, (2,)), b=spaces.Discrete(2)
    )

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return {"a": state}


class Growing(Plain):
    """The state has another shape after a step."""

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        return jnp.append(state, state)

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state[:2]


class TextAction(Plain):
    action_space = spaces.Dict(a=spaces.Discrete(2), say=spaces.Text(3))


REFUSED = {
    Reward1: "`reward` is float32[1], not one float32",
    Terminal1: "`terminated` is bool[1], not one bool",
    TerminalFloat: "`terminated` is float32[], not one bool",
    WrongShape: "the observation of a reset has shape [1], not [2]",
    Bytes: "the observation of a reset has dtype int32, not uint8",
    Half: "the observation of a reset has dtype float32, not int32",
    Keys: "the observation of a reset has the keys ['a']; its space has ['a', 'b']",
    Growing: "the state[0] is float32[4] after a step, float32[2] after a reset",
    TextAction: "spaces of type Text (action `say`) are not supported",
}
"""Class -> the message before training."""


class Big(Plain):
    """A category beyond its space, from the third step on."""

    observation_space = spaces.MultiDiscrete([3, 4])

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.array([jnp.round(state[0] * 10).astype(int), 0])


class Beyond(Plain):
    """A quarter of the steps are outside of the bounds."""

    observation_space = spaces.Box(-1, np.float32(0.5), (2,))
    max_episode_steps = 6

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return jnp.where(state[0] > 0.35, 7.0, state)


class Actions(Plain):
    """Pays for actions that are as from `sample`, at the width of JAX."""

    def __init__(self, space: spaces.Space[Any]) -> None:
        super().__init__()
        self.action_space = space

    def reward(self, state: Any, action: Any, *more: Any) -> Any:
        like = jax.tree.leaves(self.action_space.sample())
        pairs = zip(jax.tree.leaves(action), map(jnp.asarray, like), strict=True)
        same = [(a.dtype, a.shape) == (b.dtype, b.shape) for a, b in pairs]
        return jnp.float32(all(same))
