"""Members in host environments: one loop after the other."""

from collections.abc import Callable, Collection

import numpy as np

from pgcli.config.members import Member, config_of
from pgcli.config.schema import RunConfig
from pgcli.envs.waiting import Abandoned
from pgcli.errors import DivergedError, EnvironmentFailed, PgcliError
from pgcli.training.backend.memory import require_memory
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.loops import host_env_checkpoint
from pgcli.training.loops.base import Groups, Row, Stored
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.members.base import Members
from pgcli.training.seeds import Role
from pgcli.training.stop_signals import never

MOST_WITH_WORKERS = 8
"""Number of members above which `host.workers: auto` starts no workers, because every
member would have its own and only one member runs at a time."""


def _without_crowding(config: RunConfig) -> RunConfig:
    """The configuration without workers if there are too many members for `auto`."""
    if config.host.workers != "auto" or config.num_members <= MOST_WITH_WORKERS:
        return config
    return config.with_values({"host.workers": 0})


class HostMembers(Members):
    """Members in host environments, one after the other in every chunk."""

    groups: Collection[str] = HostLoop.groups
    optional_groups: Collection[str] = HostLoop.optional_groups

    def __init__(self, config: RunConfig, part: range | None = None) -> None:
        super().__init__(config, part)
        config = _without_crowding(config)
        self._failure: EnvironmentFailed | Abandoned | None = None
        # all loops use the compiled programs of the first
        first = HostLoop(config_of(config, self.members[0]))
        self._loops = [first]
        self.spec, self.setup, self.helpers = first.spec, first.setup, first.helpers
        try:
            self.parameters = require_memory(config, self.setup)
            for member in self.members[1:]:
                alone = config_of(config, member)
                self._loops.append(HostLoop(alone, like=first))
        except PgcliError:
            self.close()
            raise

    def advance(
        self, until: int, seconds: float, stop: Callable[[], bool] = never
    ) -> list[Row]:
        """See `Loop.advance`: a row per member and iteration."""
        if self._failure is not None:
            raise self._failure
        # each active member gets an equal part of the time
        all_rows: list[Row] = []
        for m in self._active():
            loop = self._loops[m]
            if loop.steps >= until:
                continue
            if all_rows and stop():
                break
            try:
                rows = loop.advance(until, seconds / len(self.members), stop)
            except DivergedError as error:
                self.retire(m, error.message, error.help)
                continue
            except (EnvironmentFailed, Abandoned) as failure:
                # rows from before the failure are returned first
                if not all_rows:
                    raise
                self._failure = failure
                break
            self.iterations[m], self.member_steps[m] = loop.iteration, loop.steps
            all_rows += [self._row(m, row) for row in rows]
        return all_rows

    def evaluate(
        self, episodes: int, role: Role, seed: int, stop: Callable[[int], bool] = never
    ) -> Episodes:
        """Results [M, episodes], each member under its own seed."""
        # progress is reported as if all members advanced together
        active, count = self._active(), len(self._active())

        def of_member(member: Member) -> Episodes:
            loop, before = self._loops[member.index], active.index(member.index)
            return loop.evaluate(
                episodes,
                role,
                member.seed,
                lambda done: stop((before * episodes + done) // count),
            )

        return self._each(episodes, of_member)

    def news(self) -> list[str]:
        """See `Loop.news`: messages of all members, without repetitions."""
        messages = [text for loop in self._loops for text in loop.news()]
        return list(dict.fromkeys(messages))

    def snapshot(self) -> Groups:
        """See `Loop.snapshot`: arrays [M, …], except in `env`: names by member."""
        each = [loop.snapshot() for loop in self._loops]
        stacked = {
            group: {name: np.stack([x[group][name] for x in each]) for name in arrays}
            for group, arrays in each[0].items()
            if group != "env"
        }
        env = host_env_checkpoint.arrays_of_members([groups["env"] for groups in each])
        return {**stacked, "env": env}

    def restore(self, groups: Stored, where: str) -> str:
        """See `Loop.restore`: the lowest level of all members."""
        levels = set()
        for m, loop in enumerate(self._loops):
            # the part of member m
            own: dict[str, dict[str, np.ndarray]] = {
                group: {name: x[m] for name, x in arrays.items()}
                for group, arrays in groups.items()
                if group != "env"
            }
            if "env" in groups:
                own["env"] = host_env_checkpoint.arrays_of_member(groups["env"], m)
            levels.add(loop.restore(own, where))
            self.iterations[m], self.member_steps[m] = loop.iteration, loop.steps
        (level,) = levels if len(levels) == 1 else {"learner-exact"}
        return level

    def close(self) -> None:
        """Closes the environments of all members."""
        for loop in self._loops:
            loop.close()
