"""Environments whose state has no plain form, played again from their last reset.

What is kept is the state of their random numbers before that reset, and the actions
since; after playing them again the observation, the random numbers and every plain
attribute must be what they were, byte for byte.
"""

from typing import Any

import numpy as np

from pgcli.envs.base import EnvState
from pgcli.envs.state.capture import (
    MALFORMED,
    fingerprint,
    malformed,
    random_numbers,
    refused,
    restore_random_numbers,
    walk,
)
from pgcli.envs.state.encoding import Encoder, NotPlainError, digest
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.state.value_kinds import name_of

MAX_ACTIONS = 2**17
"""Longer episodes are not played again."""


class Recording:
    """What it takes to play an environment's present episode again."""

    def __init__(self, begun: bool) -> None:
        """A recording, from the first reset on, or from the next where it has begun."""
        self.actions: list[Any] = []
        self.last_obs: Any = None
        self._is_whole = not begun
        self._before: EnvState | None = None

    def begin(self, env: Any) -> None:
        """Called before every reset but the first."""
        self.actions = []
        self._before = None
        try:
            self._before = random_numbers(env)
        except NotPlainError:
            self._is_whole = False
        else:
            self._is_whole = True

    def state(self, env: Any, reason: str) -> EnvState:
        """The state of the environment, or why it has none.

        Args:
          env: the environment.
          reason: why it has no plain form.
        """
        if not self._is_whole:
            return refused(f"{reason}, and its episode was not recorded")
        if len(self.actions) > MAX_ACTIONS:
            return refused(f"{reason}, and its episode has over {MAX_ACTIONS} steps")
        arrays = {"actions": np.array(self.actions)}
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
    """Plays the episode of a state in an environment that has just been reset.

    Args:
      env: the environment.
      state: what `Recording.state` returned.
      first: what the environment showed at its reset.

    Returns:
      The recording, to be continued.

    Raises:
      NotRestoredError: it did not end as it had.
      CheckpointError: the state is no state.
    """
    facts = state.facts
    recording = Recording(begun=False)
    try:
        before, actions = facts["before"], state.arrays["actions"]
        prefix = "before."
        arrays = {
            name.removeprefix(prefix): array
            for name, array in state.arrays.items()
            if name.startswith(prefix)
        }
        stored = facts["obs"], dict(facts["attributes"])
    except MALFORMED as error:
        raise malformed(error) from error
    try:
        obs = first
        if before is not None:
            restore_random_numbers(env, EnvState(before, arrays))
            recording.begin(env)
            obs, _ = env.reset()
        for action in actions.tolist() if actions.dtype.kind == "i" else actions:
            obs = env.step(action)[0]
            recording.actions.append(action)
    except Exception as error:
        raise NotRestoredError(
            "its episode cannot be played again: it failed at step "
            f"{len(recording.actions)}: {type(error).__name__}: {error}"
        ) from error
    recording.last_obs = obs
    _compare(env, obs, *stored)
    return recording


def _compare(
    env: Any, obs: Any, stored_obs: str | None, stored: dict[str, str]
) -> None:
    here = fingerprint(env)
    differing = [
        name for name in sorted({*stored, *here}) if stored.get(name) != here.get(name)
    ]
    if _obs_digest(obs) != stored_obs:
        differing.insert(0, "the observation")
    if differing:
        raise NotRestoredError(
            "its episode took another course when it was played again: "
            f"{', '.join(differing[:3])} differs"
        )


def _obs_digest(obs: Any) -> str | None:
    encoder = Encoder([])
    try:
        return digest(encoder.encode(obs, "obs"), encoder.arrays)
    except NotPlainError:
        return None
