"""Action masks of host environments, as a part of the observation.

They come from a key of a Dict observation (as in PettingZoo), from `info`, or from a
method (as in sb3-contrib). `ActionMasks` checks them and converts them to one format,
so that everything that steps the environment sees the same.
"""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from pgcli.config.schema import NO_MASK
from pgcli.envs.action_masks import KEY, OFF, flat_mask
from pgcli.envs.base import ActionMask, component_sizes
from pgcli.envs.failures import PASSED
from pgcli.envs.host.contract import ContractError
from pgcli.envs.spaces import make_spec, mask_space, parts
from pgcli.errors import UsageError

METHOD = "action_masks()"
"""The method that `auto` knows."""

MOST_KNOWN = 1024
"""Number of different masks whose checked forms are kept."""

HELP = f"it must be 1 for each valid action, of which there is one, else 0; {OFF}"


def find_source(env: Any) -> tuple[str, bool]:
    """The source of masks that `auto` stands for, and whether `env` is still new.

    It is reset if nothing but `info` can show masks.
    """
    if not _has_components(env.action_space):
        return NO_MASK, True
    if _has_key(env, KEY):
        return KEY, True
    if env.has_wrapper_attr(METHOD.removesuffix("()")):
        return METHOD, True
    try:
        _, info = env.reset(seed=0)
        return (KEY if KEY in info else NO_MASK), False
    except PASSED:
        raise
    except BaseException:  # raised again when the environment is used
        return NO_MASK, False


def masked(env: Any, source: str, env_id: str) -> tuple[Any, str | None]:
    """(`env` with masks as a part of its observations, the key of that part or None).

    `source` is as in `env.action_mask`, without `auto`. Raises a UsageError if there
    are no such masks, or the actions take none.
    """
    if source == NO_MASK:
        return env, None
    env = ActionMasks(env, source, env_id)
    return env, env.key


class ActionMasks(gymnasium.Wrapper[Any, Any, Any, Any]):
    """The observation with the action mask as a part.

    A plain observation becomes the part `observation` of a Dict, and the parts of a
    Tuple become those of a Dict.
    """

    def __init__(self, env: Any, source: str, env_id: str) -> None:
        super().__init__(env)

        def refused(problem: str) -> UsageError:
            return UsageError(
                f"`env.action_mask: {source}`: {problem}",
                where=f"environment {env_id}",
                help="--set env.action_mask=off for no masks",
            )

        spec = make_spec(env_id, spaces.Discrete(1), env.action_space, None)
        self._action, sizes = spec.action, component_sizes(spec.action)
        if not sizes:
            raise refused("there are no masks for the actions of a Box")
        self._shape = (sum(sizes),)
        self._known: dict[bytes, np.ndarray] = {}
        # where masks come from: a part of the observation, a method, or info
        self._source, self._method = source, None
        self._in_obs = _has_key(env, source)
        if not self._in_obs and source.endswith("()"):
            if not env.has_wrapper_attr(source[:-2]):
                raise refused("there is no such method")
            self._method = env.get_wrapper_attr(source[:-2])
        words = source if self._method else f"info[{source!r}]"
        words = f"observation[{source!r}]" if self._in_obs else words
        # the observation's own parts, and the mask
        self.key = source if self._in_obs else KEY
        rest = self._rest(env.observation_space)
        if not rest:
            raise refused("the observation has no other part")
        mask = ActionMask(self._shape, sizes, words)
        self.observation_space = spaces.Dict({**rest, self.key: mask_space(mask)})

    def reset(self, **options: Any) -> Any:
        """The first observation of an episode, with its mask."""
        obs, info = self.env.reset(**options)
        return {**self._rest(obs), self.key: self._mask(obs, info)}, info

    def step(self, action: Any) -> Any:
        """One step. After the last of an episode no action follows: all are valid."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            mask = np.ones(self._shape, np.int8)
        else:
            mask = self._mask(obs, info)
        return {**self._rest(obs), self.key: mask}, reward, terminated, truncated, info

    def _rest(self, obs: Any) -> dict[str, Any]:
        """The parts of an observation (or of its space) other than the mask."""
        if isinstance(obs, dict | spaces.Dict):
            own = dict(obs.items())
            if self._in_obs:
                del own[self._source]
            return own
        if isinstance(obs, tuple | spaces.Tuple):
            return {str(i): part for i, part in enumerate(obs)}
        return {"observation": obs}

    def _mask(self, obs: Any, info: Any) -> np.ndarray:
        """The mask from its source, checked."""
        given: Any
        if self._in_obs:
            given = obs[self._source]
        elif self._method:
            given = self._method()
        elif isinstance(info, Mapping) and self._source in info:
            given = info[self._source]
        else:
            problem = f"has no `{self._source}`, the mask of valid actions"
            raise ContractError("info", problem, f"return it from every call; {OFF}")
        # masks recur; of one byte per element the bytes determine the result
        is_plain = isinstance(given, np.ndarray) and given.dtype.itemsize == 1
        known = given.tobytes() if is_plain and given.shape == self._shape else None
        if known in self._known:
            return self._known[known]
        try:
            mask = flat_mask(self._action, given)
        except ValueError as error:
            raise ContractError("action mask", str(error), HELP) from None
        if known is not None and len(self._known) < MOST_KNOWN:
            mask.flags.writeable = False
            self._known[known] = mask
        return mask


def _has_key(env: Any, key: str) -> bool:
    space = env.observation_space
    return isinstance(space, spaces.Dict) and key in space.spaces


def _has_components(space: Any) -> bool:
    return any(not isinstance(part, spaces.Box) for _, part in parts(space))
