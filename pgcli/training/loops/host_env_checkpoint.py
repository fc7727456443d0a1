"""Storing and restoring of host environments, and a check that this is exact."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pgcli.config.schema import RunConfig
from pgcli.envs.base import EnvState, HostEnv, Resumable
from pgcli.envs.make import make_host_env
from pgcli.envs.state.capture import libraries, refusal
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.state.state_arrays import pack, unpack
from pgcli.errors import PgcliError
from pgcli.nn.policy import Policy
from pgcli.rollout.host_collector import CollectorState
from pgcli.rollout.replay_check import difference_in_episodes, difference_in_steps
from pgcli.rollout.types import Transitions
from pgcli.training.state import from_arrays, to_arrays

Arrays = Mapping[str, np.ndarray]

CHECKED_STEPS = 256
"""Steps over which a copy of an environment is compared with it, once per run."""

_COLLECTOR = "collector"


def take(env: HostEnv) -> tuple[list[EnvState], str | None]:
    """(states of the environments, None), or ([], reason) if they are not available."""
    if not isinstance(env, Resumable):
        return [], f"{type(env).__name__} has no state that could be stored"
    states = env.get_state()
    reason = refusal(states)
    return ([], reason) if reason else (states, None)


def store(
    env: HostEnv,
    collector: CollectorState | None,
    episode_set: int,
    unreliable: str | None,
) -> dict[str, np.ndarray]:
    """The group of a checkpoint with the states of environments and collector.

    `collector` is None before the first episodes; `unreliable` is the reason why the
    states cannot be restored exactly, or None.
    """
    facts: dict[str, Any] = {
        "libraries": dict(libraries()),
        "begun": collector is not None,
        "episode_set": episode_set,
    }
    # before the first reset, there are no states
    if collector is None:
        return pack(facts, [])

    # the states, or the reason why they are missing
    states, reason = take(env) if unreliable is None else ([], unreliable)
    if reason is not None:
        return pack({**facts, "reason": reason}, [])
    return {**pack(facts, states), **to_arrays({_COLLECTOR: collector})}


def arrays_of_members(each: list[Arrays]) -> dict[str, np.ndarray]:
    """The groups of several members as one; names are prefixed by the member."""
    return {
        f"{index}:{name}": array
        for index, arrays in enumerate(each)
        for name, array in arrays.items()
    }


def arrays_of_member(arrays: Arrays, index: int) -> dict[str, np.ndarray]:
    """The group of one member, from a result of `arrays_of_members`."""
    prefix = f"{index}:"
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


class StoredEnv:
    """The stored state of environments and collector."""

    def __init__(self, group: Arrays | None, where: str) -> None:
        """Decodes a group returned by `store`; None if the checkpoint has none.

        Raises:
          CheckpointError: it is damaged.
          NotRestoredError: the environments cannot be restored from it.
        """
        if group is None:
            raise NotRestoredError("the checkpoint is from before they were stored")
        # arrays of the collector, and those of the environments
        own = f"['{_COLLECTOR}']"
        self._collector = {n: x for n, x in group.items() if n.startswith(own)}
        rest = {name: x for name, x in group.items() if name not in self._collector}
        facts, self._states = unpack(rest, where)
        self._where = where

        # the states must exist and come from the same versions of the libraries; one
        # that was installed since took no part
        if "reason" in facts:
            raise NotRestoredError(str(facts["reason"]))
        then, now = facts.get("libraries", {}), libraries()
        for name, version in sorted(then.items()):
            if name in now and version != now[name]:
                raise NotRestoredError(
                    f"{name} was {version} when they were stored and is {now[name]} now"
                )
        self.episode_set = int(facts.get("episode_set", 0))
        self.begun = bool(facts.get("begun"))

    def restore(self, env: HostEnv, blank: CollectorState) -> CollectorState:
        """The state of the collector, like `blank`, after that of new environments.

        Raises:
          CheckpointError: the stored state is that of other environments.
          NotRestoredError: the environments cannot be restored.
        """
        # earlier versions kept integers of up to 32 bits, which are float32 now
        float32 = {
            n for n, x in to_arrays({_COLLECTOR: blank}).items() if x.dtype == "f4"
        }
        stored = {
            name: x.astype("f4") if name in float32 and x.dtype.kind in "iu" else x
            for name, x in self._collector.items()
        }
        whole = from_arrays({_COLLECTOR: blank}, stored, self._where)
        state: CollectorState = whole[_COLLECTOR]
        if not isinstance(env, Resumable):
            raise NotRestoredError(f"{type(env).__name__} takes no stored state")
        try:
            env.set_state(self._states)
        except PgcliError as error:
            error.where = error.where or self._where
            raise
        return state


def mismatch(
    config: RunConfig,
    policy: Policy,
    states: list[EnvState],
    seen: Transitions,
    collects: str,
) -> str | None:
    """Difference between the first environment and a restored copy, or None.

    The copy is a new environment with the state from before the rollout `seen`. With
    the same actions, it must return the same values, byte for byte. The environments of
    the run are not used.
    """
    # a native vector environment has the width of the run, and one state for all
    seen = seen.replace(action=policy.squash(seen.action))
    difference = difference_in_steps if collects == "steps" else difference_in_episodes
    try:
        vectorizer = config.host.vectorizer
        count = config.env.num_envs if vectorizer == "native" else 1
        copy = make_host_env(config.env, [0] * count, vectorizer=vectorizer)
        try:
            if not isinstance(copy, Resumable):
                return f"{type(copy).__name__} takes no stored state"
            copy.set_state(states[:1])
            field = difference(copy, seen, CHECKED_STEPS)
        finally:
            copy.close()
    except (NotRestoredError, PgcliError) as error:
        return f"a copy could not be brought into the same state: {error}"
    return (
        None
        if field is None
        else f"a copy in the same state took another course: {field} differs"
    )
