"""Members of a run on several processes, each with a part of them."""

from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Any

import numpy as np

from pgcli.config.schema import RunConfig
from pgcli.errors import DivergedError, EnvironmentFailed
from pgcli.training.distributed.leader import Leader
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.loops import host_env_checkpoint
from pgcli.training.loops.base import Groups, Row, Stored
from pgcli.training.loops.chunk_size import Pace
from pgcli.training.members.base import Members
from pgcli.training.members.device_members import DeviceMembers
from pgcli.training.members.host_members import HostMembers
from pgcli.training.seeds import Role
from pgcli.training.stop_signals import never

Part = DeviceMembers | HostMembers
"""The members of one process."""


def parts_of(count: int, processes: int) -> list[range]:
    """The members of each process, in order; their numbers differ by at most one."""
    ends = [count * i // processes for i in range(processes + 1)]
    return [range(a, b) for a, b in pairwise(ends)]


class GivenPace(Pace):
    """The number of iterations per call that process 0 has chosen for all."""

    limit = 1

    def begin(self, seconds: float) -> int:
        """See `Pace.begin`."""
        return self.limit

    def end(self, iterations: int) -> None:
        """See `Pace.end`."""


class PartWorker:
    """Commands for the members of one process; none fails because all diverge."""

    def __init__(self, loop: Part, stop: Callable[[], bool] = never) -> None:
        """Takes the members; `stop` ends what process 0 has given up."""
        self.loop, self.stop = loop, stop
        if isinstance(loop, DeviceMembers):
            loop.pace = GivenPace()
        self.commands: Mapping[str, Callable[..., dict[str, Any]]] = {
            "advance": self.advance,
            "evaluate": self.evaluate,
            "snapshot": lambda: {"groups": self.loop.snapshot()},
            "restore": self.restore,
        }

    def advance(
        self, until: int, seconds: float, limit: int, diverged: Mapping[str, str]
    ) -> dict[str, Any]:
        """New rows of metrics; see `Loop.advance`."""
        loop = self.loop
        self._retire(diverged)
        if isinstance(loop, DeviceMembers):
            loop.pace.limit = limit  # type: ignore[attr-defined]
        rows: list[Row] = []
        if self._is_active() and loop.steps < until:
            try:
                rows = loop.advance(until, seconds, self.stop)
            except (DivergedError, EnvironmentFailed):
                # a part without active members does not end the run
                if self._is_active():
                    raise
        return {"rows": rows, **self._report()}

    def evaluate(
        self, episodes: int, role: Role, seed: int, diverged: Mapping[str, str]
    ) -> dict[str, Any]:
        """Episodes [m, E] of the members; see `Loop.evaluate`."""
        self._retire(diverged)
        played = Episodes(*(np.full((len(self.loop.members), episodes), np.nan),) * 5)
        if self._is_active():
            try:
                played = self.loop.evaluate(episodes, role, seed, lambda _: self.stop())
            except DivergedError:
                if self._is_active():
                    raise
        return {"played": list(played), **self._report()}

    def restore(self, groups: Stored, where: str) -> dict[str, Any]:
        """The level of the resume; see `Loop.restore`."""
        return {"level": self.loop.restore(groups, where), **self._report()}

    def _is_active(self) -> bool:
        return len(self.loop.diverged) < len(self.loop.members)

    def _retire(self, diverged: Mapping[str, str]) -> None:
        self.loop.diverged.update({int(m): why for m, why in diverged.items()})

    def _report(self) -> dict[str, Any]:
        loop = self.loop
        return {
            "diverged": {str(m): why for m, why in loop.diverged.items()},
            "iterations": loop.iterations.tolist(),
            "member_steps": loop.member_steps,
            "news": loop.news(),
        }


class SplitMembers(Members):
    """Members on several processes, seen from process 0, which has the first part."""

    def __init__(self, config: RunConfig, own: Part, leader: Leader) -> None:
        super().__init__(config)
        self._own, self._leader, self._news = PartWorker(own), leader, list[str]()
        self._parts = parts_of(len(self.members), leader.count)
        self._on_device = isinstance(own, DeviceMembers)
        self._pace = Pace()
        self.groups: Collection[str] = own.groups
        self.optional_groups: Collection[str] = own.optional_groups
        self.spec, self.setup, self.parameters = own.spec, own.setup, own.parameters
        self.helpers = f"{leader.count} processes"

    def advance(
        self, until: int, seconds: float, stop: Callable[[], bool] = never
    ) -> list[Row]:
        """See `Loop.advance`: a row per member and iteration."""
        # the same number of iterations everywhere, so that rows have one order
        limit, before = self._pace.begin(seconds), self.iteration
        self._own.stop = stop
        replies = self._all("advance", until=until, seconds=seconds, limit=limit)
        self._pace.end(self.iteration - before)
        # numbers in the whole run; on the device, rows are ordered by iteration
        rows = []
        for part, reply in zip(self._parts, replies, strict=True):
            for row in reply["rows"]:
                rows.append({**row, "member": row["member"] + part.start})
        if self._on_device:
            rows.sort(key=lambda row: row["iteration"])
        return rows

    def evaluate(
        self, episodes: int, role: Role, seed: int, stop: Callable[[int], bool] = never
    ) -> Episodes:
        """Results [M, episodes], each member under its own seed."""
        self._own.stop = lambda: stop(0)
        replies = self._all("evaluate", episodes=episodes, role=role, seed=seed)
        parts = zip(*(reply["played"] for reply in replies), strict=True)
        return Episodes(*map(np.concatenate, parts))

    def snapshot(self) -> Groups:
        """See `Loop.snapshot`."""
        with self._leader.together("snapshot") as replies:
            each = [self._own.loop.snapshot()]
            each += [reply["groups"] for reply in replies().values()]
        # arrays [M, …]; those of host environments have the member in their names
        groups: Groups = {
            group: {
                name: np.concatenate([x[group][name] for x in each]) for name in arrays
            }
            for group, arrays in each[0].items()
            if group != "env" or self._on_device
        }
        if not self._on_device:
            groups["env"] = host_env_checkpoint.arrays_of_members(
                [
                    host_env_checkpoint.arrays_of_member(x["env"], m)
                    for x, part in zip(each, self._parts, strict=True)
                    for m in range(len(part))
                ]
            )
        return groups

    def restore(self, groups: Stored, where: str) -> str:
        """See `Loop.restore`: the lowest level of all members."""
        own, *others = ({"groups": self._cut(groups, part)} for part in self._parts)
        each = dict(enumerate(others, 1))
        with self._leader.together("restore", each, where=where) as replies:
            all_replies = [self._own.restore(own["groups"], where)]
            all_replies += replies().values()
        self._merge(all_replies)
        levels = {reply["level"] for reply in all_replies}
        (level,) = levels if len(levels) == 1 else {"learner-exact"}
        return str(level)

    def _cut(self, groups: Stored, part: range) -> Groups:
        """The arrays of the members of one process."""
        cut = {
            group: {name: x[part.start : part.stop] for name, x in arrays.items()}
            for group, arrays in groups.items()
            if group != "env" or self._on_device
        }
        if "env" in groups and not self._on_device:
            cut["env"] = host_env_checkpoint.arrays_of_members(
                [host_env_checkpoint.arrays_of_member(groups["env"], m) for m in part]
            )
        return cut

    def _all(self, command: str, **data: Any) -> list[dict[str, Any]]:
        """The replies of all processes, in order, after their states are merged."""
        # divergences of each part, some of which only process 0 has noticed
        gone = self.diverged
        own, *others = (
            {"diverged": {str(m - p.start): gone[m] for m in p if m in gone}}
            for p in self._parts
        )
        each = dict(enumerate(others, 1))
        with self._leader.together(command, each, **data) as replies:
            mine = self._own.commands[command](**data, **own)
            every = [mine, *replies().values()]
        self._merge(every)
        return every

    def _merge(self, replies: list[dict[str, Any]]) -> None:
        """Takes over counters, messages and divergences of all processes."""
        # all counters first: `retire` raises an error if no member is left
        for part, reply in zip(self._parts, replies, strict=True):
            self.iterations[part.start : part.stop] = reply["iterations"]
            self.member_steps[part.start : part.stop] = reply["member_steps"]
            self._news += reply["news"]
        for part, reply in zip(self._parts, replies, strict=True):
            for m, why in reply["diverged"].items():
                if int(m) + part.start not in self.diverged:
                    self.retire(int(m) + part.start, why)

    def news(self) -> list[str]:
        """See `Loop.news`: messages of all processes, without repetitions."""
        news, self._news = list(dict.fromkeys(self._news)), []
        return news

    def close(self) -> None:
        """See `Loop.close`."""
        self._own.loop.close()
