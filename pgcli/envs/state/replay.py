"""Replay of environments without a plain state from their last reset.

A recording has the random number generators before that reset and all actions since.
After the replay, the observation, the generators and every plain attribute must equal
the recorded ones byte for byte.
"""

from typing import Any

import numpy as np

from pgcli.envs.actions import assemble, row, structure_of
from pgcli.envs.base import EnvState
from pgcli.envs.failures import PASSED, in_words
from pgcli.envs.spaces import by_part, parts
from pgcli.envs.state.capture import (
    MALFORMED,
    fingerprint,
    malformed,
    named_attributes,
    random_numbers,
    refused,
    restore_random_numbers,
    walk,
)
from pgcli.envs.state.encoding import Encoder, NotPlainError, digest
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.state.value_kinds import is_space, name_of

MAX_BYTES = 2**20
"""Size of the actions above which an episode is not replayed."""


_NO_ACTIONS = (bytearray(), np.dtype(int), ())


def _array_name(path: str) -> str:
    """Name of the array of an action, or of the part of one at a path."""
    return f"actions/{path}" if path else "actions"


class Recording:
    """The recording of an environment's present episode, of limited size."""

    def __init__(self, begun: bool) -> None:
        """A recording from the first reset on, or from the next one if `begun`."""
        self.steps = 0
        self.last_obs: Any = None
        # bytes, dtype and shape of each part of the actions, by path
        self._actions: dict[str, tuple[bytearray, np.dtype[Any], tuple[int, ...]]] = {}
        self._is_whole = not begun
        self._before: EnvState | None = None

    def begin(self, env: Any) -> None:
        """Begins an episode; called before every reset except the first."""
        # without the generators an episode cannot be replayed
        self.steps = 0
        self._actions.clear()
        self._before = None
        try:
            self._before = random_numbers(env)
        except NotPlainError:
            self._is_whole = False
        else:
            self._is_whole = True

    def add(self, action: Any) -> None:
        """Records a step."""
        self.steps += 1
        if not self._is_whole:
            return
        for path, part in by_part(action).items():
            array = np.asarray(part)
            if path not in self._actions:
                self._actions[path] = bytearray(), array.dtype, array.shape
            self._actions[path][0].extend(array.tobytes())
        if sum(len(data) for data, *_ in self._actions.values()) > MAX_BYTES:
            self._is_whole = False
            self._actions.clear()

    def state(self, env: Any, reason: str) -> EnvState:
        """The state of the environment, or the `reason` why it has no plain one."""
        if not self._is_whole:
            return refused(f"{reason}, and its episode was not recorded or is too long")
        # actions [T, …] and generators; digests to compare with after the replay
        arrays = {}
        for path, _ in parts(env.action_space):
            data, dtype, shape = self._actions.get(path, _NO_ACTIONS)
            flat = np.frombuffer(bytes(data), dtype)
            arrays[_array_name(path)] = flat.reshape(self.steps, *shape)
        if self._before is not None:
            arrays |= {f"before.{k}": x for k, x in self._before.arrays.items()}
        facts = {
            "way": "replay",
            "levels": [{"class": name_of(type(level))} for level in walk(env)],
            "before": None if self._before is None else self._before.facts,
            "obs": _obs_digest(self.last_obs),
            "attributes": fingerprint(env),
        }
        return EnvState(facts, arrays)


def replay(env: Any, state: EnvState, first: Any) -> Recording:
    """Replays the episode of a state after a reset that has returned `first`.

    The result is a recording that can be continued.

    Raises:
      NotRestoredError: the replay differs from the recorded episode.
      CheckpointError: the state is damaged.
    """
    # parts of the state; a missing one means that it is damaged
    facts = state.facts
    recording = Recording(begun=False)
    try:
        before, space = facts["before"], env.action_space
        whole = {path: state.arrays[_array_name(path)] for path, _ in parts(space)}
        actions = assemble(structure_of(space), whole)
        (num_steps,) = {len(part) for part in whole.values()}
        prefix = "before."
        arrays = {
            name.removeprefix(prefix): array
            for name, array in state.arrays.items()
            if name.startswith(prefix)
        }
        stored = facts["obs"], dict(facts["attributes"])
    except MALFORMED as error:
        raise malformed(error) from error
    # reset with the recorded generators, unless it was the first reset; then step
    try:
        obs = first
        if before is not None:
            restore_random_numbers(env, EnvState(before, arrays))
            recording.begin(env)
            obs, _ = env.reset()
        for t in range(num_steps):
            action = row(actions, t)
            obs = env.step(action)[0]
            recording.add(action)
    except PASSED:
        raise
    except BaseException as error:
        raise NotRestoredError(
            "its episode cannot be replayed: it failed at step "
            f"{recording.steps}: {in_words(error)}"
        ) from error
    # observation and attributes must equal the recorded ones
    recording.last_obs = obs
    _compare(env, obs, *stored)
    return recording


def _compare(
    env: Any, obs: Any, stored_obs: str | None, stored: dict[str, str]
) -> None:
    # older checkpoints have the digests of spaces, too
    spaces = {path for path, value in named_attributes(env) if is_space(value)}
    here = fingerprint(env)
    names = sorted({*stored, *here} - spaces)
    differing = [name for name in names if stored.get(name) != here.get(name)]
    if _obs_digest(obs) != stored_obs:
        differing.insert(0, "the observation")
    if differing:
        raise NotRestoredError(
            "its episode ended differently when it was replayed: "
            f"{', '.join(differing[:3])} differs"
        )


def _obs_digest(obs: Any) -> str | None:
    encoder = Encoder([])
    try:
        return digest(encoder.encode(obs, "obs"), encoder.arrays)
    except NotPlainError:
        return None
