"""Members in an on-device environment: one compiled program."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from pgcli.arrays import random_keys
from pgcli.arrays.device_mesh import EVERYWHERE, SEED, STACKED, STACKED_ROWS
from pgcli.arrays.shapes import Array
from pgcli.arrays.shared import shared
from pgcli.config.members import Member, config_of
from pgcli.config.schema import RunConfig
from pgcli.envs.base import DeviceEnv
from pgcli.errors import DivergedError, EnvironmentFailed
from pgcli.rollout.bounds import BoundsWarning
from pgcli.training.backend.compilation import RUN_OFTEN, RUN_ONCE, RUN_SELDOM
from pgcli.training.backend.memory import require_memory
from pgcli.training.evaluation.device import (
    Played,
    checked,
    evaluate_on_device,
    in_waves,
)
from pgcli.training.evaluation.device_bounds import strays
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.loops.base import Groups, Row, Stored, from_words, to_row, to_words
from pgcli.training.loops.chunk_size import Pace
from pgcli.training.loops.device_loop import (
    MAX_CHUNK,
    from_groups,
    init_device,
    to_groups,
)
from pgcli.training.members.base import Members
from pgcli.training.members.device_program import fill, run_members
from pgcli.training.programs.kept import Keeper, Kept
from pgcli.training.programs.key import description
from pgcli.training.seeds import Role, role_key
from pgcli.training.state import DeviceState
from pgcli.training.step import Report, Setup, make_knobs, make_setup
from pgcli.training.stop_signals import never


def report_of(reports: Report, i: int, m: int) -> Report:
    """The report of member m in row i; leaves of `reports` are nested lists [i][m]."""
    metrics = {name: values[i][m] for name, values in reports.metrics.items()}
    return Report(metrics, *(values[i][m] for values in reports[1:]))


def _programs(
    setup: Setup,
    env: DeviceEnv,
    mesh: Mesh | None,
    episodes: int,
    described: str | None,
) -> tuple[Kept, Kept, Kept]:
    """(initialisation, training, evaluation) of members [M, …], jitted.

    Each device computes its own members. `described` as of `Kept`.
    """
    jit = Keeper(described, mesh)

    def program(
        name: str,
        function: Callable[..., Any],
        inputs: Any,
        outputs: Any,
        **options: Any,
    ) -> Kept:
        name = f"{name} of members"
        if mesh is None:
            return jit(function, name, **options)
        # local programs need no communication: the loop of each device ends by itself
        local = jax.shard_map(
            function, mesh=mesh, in_specs=inputs, out_specs=outputs, check_vma=False
        )
        place = jax.tree.map(
            lambda spec: NamedSharding(mesh, spec),
            (inputs, outputs),
            is_leaf=lambda x: isinstance(x, PartitionSpec),
        )
        options |= {"in_shardings": place[0], "out_shardings": place[1]}
        return jit(local, name, **options)

    pair = (STACKED, STACKED)
    begin = jax.vmap(partial(init_device, setup, env))
    play = jax.vmap(partial(evaluate_on_device, env, setup.policy, episodes, True))
    return (
        program("initialisation", begin, pair, STACKED, compiler_options=RUN_ONCE),
        program(
            "training",
            partial(run_members, setup, env),
            (*pair, *pair, EVERYWHERE, EVERYWHERE, EVERYWHERE),
            (STACKED, STACKED_ROWS, STACKED, STACKED),
            donate_argnums=1,
            compiler_options=RUN_OFTEN,
        ),
        program("evaluation", play, pair, STACKED, compiler_options=RUN_SELDOM),
    )


class DeviceMembers(Members):
    """Members in an on-device environment, in one compiled program."""

    groups: Collection[str] = ("agent", "run", "env")
    optional_groups: Collection[str] = ()
    helpers = ""

    def __init__(
        self,
        config: RunConfig,
        env: DeviceEnv,
        mesh: Mesh | None = None,
        part: range | None = None,
        ahead: bool = False,
    ) -> None:
        """Prepares the runs; see `DeviceLoop` and `Members`."""
        # members on all devices, the last repeated as padding
        super().__init__(config, part)
        self.spec = env.spec
        self.setup = make_setup(config, env.spec)
        self.parameters = require_memory(config, self.setup)
        devices = 1 if mesh is None else mesh.shape[SEED]
        self._sharding = None if mesh is None else NamedSharding(mesh, STACKED)
        self._places = -(-len(self.members) // devices) * devices

        self._eval_envs = config.eval.episodes
        self._begin, self._chunk, self._evaluate = shared(
            _programs,
            self.setup,
            env,
            mesh,
            self._eval_envs,
            description(config, env),
        )
        self._ahead = ahead and self._chunk.may_prepare
        self.restart(config)

    def _prepare(self, config: RunConfig) -> None:
        """Compiles the programs, in the order of their first calls."""
        knobs, keys, words = self._knobs, self._run_keys, to_words(0)
        self._begin.prepare(knobs, keys)
        states = self._begin.eval_shape(knobs, keys)
        alive = np.ones(self._places, bool)
        self._chunk.prepare(knobs, states, keys, alive, words, words, np.int32(0))
        if config.eval.every or config.eval.final_episodes:
            self._evaluate.prepare(states.run.learner.agent, keys)

    def restart(self, config: RunConfig) -> None:
        """Resets the loop to the first iteration of other runs, as many as before.

        Only seeds and floating-point values may differ, so that the compiled programs
        are reused.
        """
        self.members = self._members(config)
        self._before_training()
        # numbers and keys [M, …], padded to all places
        each = [make_knobs(config_of(config, member)) for member in self.members]
        stacked = jax.tree.map(lambda *x: np.stack(x), *each)
        self._knobs = fill(stacked, self._places)
        self._budget = to_words(config.steps)
        self._run_keys = self._keys("train")
        if self._ahead:
            self._prepare(config)
        self._states: DeviceState = self._begin(self._knobs, self._keys("init"))
        self._bounds, self._news = BoundsWarning(self.spec.obs), list[str]()
        self.pace = Pace()

    def _keys(self, role: Role, wave: int | None = None) -> Array:
        """Keys of all members [M], padded; of one wave of an evaluation if given."""
        numbers = () if wave is None else (wave,)
        keys = [role_key(member.seed, role, *numbers) for member in self.members]
        keys += keys[-1:] * (self._places - len(keys))
        return random_keys.stack(keys, self._sharding)

    def advance(
        self, until: int, seconds: float, stop: Callable[[], bool] = never
    ) -> list[Row]:
        """See `Loop.advance`: a row per member and iteration."""
        # one call for all active members
        limit = self.pace.begin(seconds)
        alive = np.arange(self._places) < len(self.members)
        alive[list(self.diverged)] = False
        self._states, rows, _, counts = self._chunk(
            self._knobs,
            self._states,
            self._run_keys,
            alive,
            self._budget,
            to_words(until),
            np.int32(min(limit, MAX_CHUNK)),
        )
        (reports, ran), counts = jax.device_get((rows, counts))
        self.pace.end(int(counts.max()))
        # as nested lists of Python numbers, because rows of arrays are slow to index
        reports, ran = jax.tree.map(
            lambda x: x[: counts.max()].tolist(), (reports, ran)
        )

        # a row per member and iteration, up to its divergence
        all_rows = []
        for i in range(int(counts.max())):
            for m in self._active():
                if i >= counts[m] or not ran[i][m]:
                    continue
                report = report_of(reports, i, m)
                iteration = int(self.iterations[m]) + 1
                found = np.array(report.outside)
                self._news += self._bounds.news(found, iteration)
                try:
                    row = to_row(report, iteration, self.spec)
                except (DivergedError, EnvironmentFailed) as error:
                    self.retire(m, error.message, error.help, type(error))
                    continue
                self.iterations[m] += 1
                self.member_steps[m] = from_words(report.steps)
                all_rows.append(self._row(m, row))
        return all_rows

    def evaluate(
        self, episodes: int, role: Role, seed: int, stop: Callable[[int], bool] = never
    ) -> Episodes:
        """Results [M, episodes], each member under its own seed."""

        def play(wave: int) -> Played:
            agents = self._states.run.learner.agent
            played: Played = self._evaluate(agents, self._keys(role, wave))
            return played

        # for all places, padding included
        played = in_waves(play, episodes, self._eval_envs, stop)

        def of_member(member: Member) -> Episodes:
            own = Played(*(x[member.index] for x in played))
            self._news += self._bounds.news(strays(own.outside, own.lengths), None)
            return checked(own, self.spec, member.seed)

        return self._each(episodes, of_member)

    def news(self) -> list[str]:
        """See `Loop.news`."""
        news, self._news = self._news, []
        return news

    def snapshot(self) -> Groups:
        """See `Loop.snapshot`: every array is [M, …]."""
        count = len(self.members)
        return {
            group: {name: x[:count] for name, x in arrays.items()}
            for group, arrays in to_groups(self._states).items()
        }

    def restore(self, groups: Stored, where: str) -> str:
        """See `Loop.restore`: always `exact`."""
        count = len(self.members)
        # stored states have no padding
        template = jax.eval_shape(
            partial(jax.tree.map, lambda x: x[:count]), self._states
        )
        states = from_groups(template, groups, where)
        run = jax.device_get(states.run)
        self.iterations = np.asarray(run.iteration).astype(int)
        self.member_steps = [from_words(words) for words in run.steps]
        if self._places > count:
            states = jax.jit(partial(fill, places=self._places))(states)
        self._states = states
        return "exact"

    def close(self) -> None:
        """See `Loop.close`: nothing to close."""
