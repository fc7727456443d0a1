"""The plan of a sweep: the checked file, and the configuration of each trial."""

import dataclasses
import importlib.util
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pgcli.config.dump import flow
from pgcli.config.errors import ConfigError, Issue
from pgcli.config.fields import fields
from pgcli.config.load import Resolved, resolve
from pgcli.config.schema import RunConfig
from pgcli.envs import registry
from pgcli.envs.host.env_factory import close_kept
from pgcli.storage.loggers import require_packages
from pgcli.sweep import space
from pgcli.sweep.file import SweepFile, check_grid, read
from pgcli.sweep.space import Dimension, Label, Labels
from pgcli.training import space_defaults
from pgcli.training.backend import plugins

PACKAGES = {"cmaes": ("cmaes", "cmaes"), "gp": ("torch", "torch")}
"""Samplers that need a further package: (module, name on the package index)."""

MAX_TOGETHER = 256
"""Members of a run that contains all trials."""

MAX_CHECKED = 200
"""Trials of a grid or of random draws that are checked before the sweep starts."""


@dataclass(frozen=True)
class Plan:
    """A sweep that has been checked, and the configuration of its first combination."""

    file: SweepFile
    first: RunConfig

    @property
    def listed(self) -> bool:
        """Whether a trial's number alone determines its values."""
        return self.file.sampler in ("grid", "random")

    @property
    def num_trials(self) -> int | None:
        """Number of trials; None if only the time is limited."""
        trials = self.file.trials
        if self.file.sampler != "grid":
            return trials
        size = len(self.grid)
        return size if trials is None else min(size, trials)

    @property
    def together(self) -> bool:
        """Whether all trials are members of one run: a grid of floats on the device."""
        file, config = self.file, self.first
        return (
            file.sampler == "grid"
            and file.pruner == "none"
            and config.env.on_device
            and 1 < len(self.grid) == self.num_trials
            and len(self.grid) * config.seeds <= MAX_TOGETHER
            and all(_may_differ(each, config) for each in file.space)
        )

    def all_trials(self) -> Resolved:
        """The configuration of all trials as one run, in their order."""
        grid = {
            each.key: tuple(float(str(x)) for x in each.grid())
            for each in self.file.space
        }
        resolved = self.resolve(self.labels(0))
        config = resolved.config.with_values({"grid": grid})
        return dataclasses.replace(resolved, config=config)

    @cached_property
    def grid(self) -> list[dict[str, Label]]:
        """All combinations of the grid."""
        return space.grid(self.file.space)

    def labels(self, number: int) -> Labels:
        """Labels of a trial, if its number determines them."""
        if self.file.sampler == "grid":
            return self.grid[number]
        return space.draw(self.file.space, self.first.seed, number)

    def resolve(self, labels: Labels) -> Resolved:
        """The configuration of a trial; a ConfigError if its values are wrong."""
        return _resolve(self.file, labels)

    def command(self, number: int, labels: Labels, runs_dir: Path) -> str:
        """The shell line that trains a trial."""
        words = ["pgcli", "train"]
        words += ["-c", str(self.file.base)] if self.file.base else []
        for assignment in (*self.file.config, *self.file.assignments(labels)):
            key = ".".join(map(str, assignment.path))
            words += ["--set", f"{key}={flow(assignment.value)}"]
        words += ["--name", name_of(number), "--runs-dir", str(runs_dir)]
        return shlex.join([*words, "--resume", "auto", "-q", "--json"])


def _may_differ(dimension: Dimension, config: RunConfig) -> bool:
    """Whether members of one run may have different values of a dimension."""
    section, _, name = dimension.key.partition(".")
    known = fields(config.algo.name).get(dimension.key)
    return (
        section in ("algo", "optimizer", "normalize")
        and bool(name)
        and known is not None
        and known.kind.base is float
        and all(type(value) in (int, float) for value in dimension.grid())
    )


def name_of(number: int) -> str:
    """Name of a trial, which is that of its run."""
    return f"trial-{number:04d}"


def load(path: Path, *, check: bool = True) -> Plan:
    """The plan in a sweep file, after all checks that need no training.

    Without `check`, trials are not resolved, as they were before. Raises a ConfigError
    or a UsageError with the mistakes.
    """
    file = read(path)
    if file.sampler == "grid":
        check_grid(file)
    issues: dict[tuple[str, str | None], Issue] = {}
    configs: list[RunConfig] = []
    for labels in space.probes(file.space):
        _collect(file, labels, configs, issues)
        if not check and not issues:
            return Plan(file, configs[0])
    if not issues:
        plan = Plan(file, configs[0])
        count = min(plan.num_trials or MAX_CHECKED, MAX_CHECKED) if plan.listed else 0
        for number in range(count):
            _collect(file, plan.labels(number), configs, issues)
    if issues:
        raise ConfigError(list(issues.values()))
    _check(file, configs)
    return plan


def _collect(
    file: SweepFile,
    labels: Labels,
    configs: list[RunConfig],
    issues: dict[tuple[str, str | None], Issue],
) -> None:
    """Adds the configuration of a combination, or its mistakes."""
    try:
        configs.append(_resolve(file, labels).config)
    except ConfigError as error:
        for issue in error.issues:
            issues.setdefault((issue.message, issue.where), issue)


def _resolve(file: SweepFile, labels: Labels) -> Resolved:
    more = [*file.config, *file.assignments(labels)]
    return resolve(file=file.base, flags={}, sets=(), more=more, spaces=_look)


def _look(config: RunConfig) -> tuple[str, Mapping[str, Any]]:
    """`space_defaults.look`, once per environment: a plan resolves many trials."""
    env = dataclasses.replace(config.env, num_envs=1)
    key = repr((env, config.algo.name))
    if key not in _LOOKED:
        _LOOKED[key] = space_defaults.look(config)
        close_kept()
    return _LOOKED[key]


_LOOKED: dict[str, tuple[str, Mapping[str, Any]]] = {}
"""Environment and algorithm as text -> what `_look` returned."""


def _check(file: SweepFile, configs: list[RunConfig]) -> None:
    """Checks what all trials need: packages, environments, evaluations."""
    for env in {config.env.id: config.env for config in configs}.values():
        registry.check(env)
    for config in configs:
        if config.grid:
            file.fail(
                "`grid` is not for sweeps", ("config",), "list the values in `space`"
            )
        if not config.eval.final_episodes:
            help = "trials are ranked by their final evaluation"
            file.fail("`eval.final_episodes` must not be 0", ("config",), help)
        if file.pruner != "none" and not config.eval.every:
            help = "set `eval.every`, or remove the pruner"
            file.fail("the pruner needs periodic evaluations", ("pruner",), help)
    for accelerator in {config.accelerator for config in configs}:
        plugins.check(accelerator)
    require_packages(configs[0].log.sinks)
    if file.sampler in PACKAGES:
        module, package = PACKAGES[file.sampler]
        if importlib.util.find_spec(module) is None:
            help = f"pip install {package}"
            file.fail(f"the sampler {file.sampler} needs {package}", ("sampler",), help)
