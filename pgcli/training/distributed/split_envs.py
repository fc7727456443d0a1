"""Host environments on several processes, each of which steps a part of them.

Process 0 computes the actions of all of them, so the results are byte for byte those of
one process. Each step costs a message to every process and back.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pgcli.config.schema import RunConfig
from pgcli.envs.base import EnvState, HostEnv, HostSlot, Resumable
from pgcli.envs.make import helpers_of
from pgcli.envs.obs_trees import rows, set_rows
from pgcli.envs.spaces import spec_to_json
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.waiting import Waits
from pgcli.envs.workers.messages import encode
from pgcli.errors import EnvironmentFailed
from pgcli.rollout.host_collector import empty_slot
from pgcli.training.distributed.leader import Leader
from pgcli.training.distributed.split_members import parts_of
from pgcli.training.loops.host_loop import make_train_envs


def _part(slot: HostSlot, part: slice) -> HostSlot:
    """Views of the rows of some environments."""
    views: list[Any] = [x if x is None else rows(x, part) for x in slot]
    return HostSlot(*views)


class SplitEnv:
    """Environments of which this process steps the first part."""

    def __init__(
        self, own: HostEnv, others: list[range], num_envs: int, leader: Leader
    ) -> None:
        """Takes ownership of its own environments; the others have been made."""
        self.spec, self.num_envs = own.spec, num_envs
        self.seeds: list[int] = list(getattr(own, "seeds", []))
        parts = [f"{leader.count} processes", helpers_of(own)]
        self.helpers = ", ".join(filter(None, parts))
        self._own, self._leader = own, leader
        self._first = slice(0, own.num_envs)
        self._others = {i: slice(x.start, x.stop) for i, x in enumerate(others, 1)}
        self._waits, self._answers = Waits(self), 0

    def whereabouts(self) -> str:
        """See `Waited.whereabouts`."""
        return f"one of {self._leader.count} processes"

    def progress(self) -> object:
        """See `Waited.progress`."""
        return self._answers

    def _receive(
        self, replies: Callable[[], Mapping[int, dict[str, Any]]]
    ) -> Mapping[int, dict[str, Any]]:
        with self._waits:
            received = replies()
        self._answers += 1
        return received

    def reset(self, obs: Any) -> None:
        """See `HostEnv.reset`."""
        with self._leader.together("env_reset") as replies:
            self._own.reset(rows(obs, self._first))
            for i, reply in self._receive(replies).items():
                set_rows(obs, self._others[i], reply["obs"])

    def step(
        self, action: Any, slot: HostSlot, active: np.ndarray | None = None
    ) -> list[tuple[int, Any]]:
        """See `HostEnv.step`."""

        def of(part: slice) -> dict[str, Any]:
            return {
                "action": rows(action, part),
                "active": None if active is None else active[part],
                "lives": slot.life_lost is not None,
            }

        # this process steps its part while the others step theirs
        each = {i: of(part) for i, part in self._others.items()}
        with self._leader.together("env_step", each) as replies:
            own, mine = of(self._first), _part(slot, self._first)
            finals = self._own.step(own["action"], mine, own["active"])
            for i, reply in self._receive(replies).items():
                # rows of arrays [N, …]; final observations are numbered within a part
                part = self._others[i]
                for array, values in zip(slot, reply["slot"], strict=True):
                    if array is not None:
                        set_rows(array, part, values)
                finals += [(n + part.start, obs) for n, obs in reply["finals"]]
        return finals

    def close(self) -> None:
        """See `HostEnv.close`; the other processes close theirs at their end."""
        self._own.close()


class ResumableSplitEnv(SplitEnv):
    """A `SplitEnv` whose state can be captured and restored."""

    _own: Any

    def get_state(self) -> list[EnvState]:
        """See `Resumable.get_state`."""
        with self._leader.together("env_get_state") as replies:
            states: list[EnvState] = self._own.get_state()
            for reply in replies().values():
                states = states + [EnvState(*state) for state in reply["states"]]
        return states

    def set_state(self, states: list[EnvState]) -> None:
        """See `Resumable.set_state`."""
        if len(states) != self.num_envs:
            raise NotRestoredError("they were stored by another number of processes")
        each = {i: {"states": states[part]} for i, part in self._others.items()}
        with self._leader.together("env_set_state", each) as replies:
            self._own.set_state(states[self._first])
            problems = [reply["problem"] for reply in replies().values()]
        for problem in filter(None, problems):
            raise NotRestoredError(problem)
        if self.seeds:
            self.seeds[:] = [int(state.facts["seed"]) for state in states]


def make_split_envs(config: RunConfig, episode_set: int, leader: Leader) -> HostEnv:
    """The training environments of a run, as of `make_train_envs`.

    Raises an EnvironmentFailed if those of a process differ.
    """
    own_part, *others = parts_of(config.env.num_envs, leader.count)
    with leader.together("env_make", episode_set=episode_set) as replies:
        own = make_train_envs(config, episode_set, own_part)
        try:
            received = replies()
        except BaseException:
            own.close()
            raise
    # the same spaces everywhere, and either all or none store their states
    spec, resumable = encode(spec_to_json(own.spec)), isinstance(own, Resumable)
    for i, reply in received.items():
        if encode(reply["spec"]) != spec or reply["resumable"] != resumable:
            own.close()
            raise EnvironmentFailed(
                f"the environment of process {i} differs from that of process 0",
                where=f"environment {own.spec.id}",
                help="install the same packages on all machines",
            )
    kind = ResumableSplitEnv if resumable else SplitEnv
    env = kind(own, others, config.env.num_envs, leader)
    env.seeds += [seed for reply in received.values() for seed in reply["seeds"]]
    return env


class EnvWorker:
    """Commands for the environments of a process other than process 0."""

    def __init__(self, config: RunConfig, index: int, count: int) -> None:
        """Makes nothing yet; this is process `index` of `count`."""
        self._config = config
        self._part = parts_of(config.env.num_envs, count)[index]
        self._env: Any = None
        self.commands: Mapping[str, Callable[..., dict[str, Any]]] = {
            "env_make": self._make,
            "env_reset": self._reset,
            "env_step": self._step,
            "env_get_state": lambda: {"states": list(self._env.get_state())},
            "env_set_state": self._set_state,
        }

    def _make(self, episode_set: int) -> dict[str, Any]:
        self.close()
        self._env = make_train_envs(self._config, episode_set, self._part)
        return {
            "spec": spec_to_json(self._env.spec),
            "resumable": isinstance(self._env, Resumable),
            "seeds": list(getattr(self._env, "seeds", [])),
        }

    def _reset(self) -> dict[str, Any]:
        slot = empty_slot(self._env)
        self._env.reset(slot.obs)
        return {"obs": slot.obs}

    def _step(
        self, action: Any, active: np.ndarray | None, lives: bool
    ) -> dict[str, Any]:
        slot = empty_slot(self._env)
        if lives:
            slot = slot._replace(life_lost=np.zeros_like(slot.start))
        finals = self._env.step(action, slot, active)
        return {"slot": list(slot), "finals": finals}

    def _set_state(self, states: list[Any]) -> dict[str, Any]:
        try:
            self._env.set_state([EnvState(*state) for state in states])
        except NotRestoredError as error:
            return {"problem": str(error)}
        return {"problem": None}

    def close(self) -> None:
        """Closes the environments."""
        if self._env is not None:
            self._env.close()
