"""The plan of a ladder: its rungs and the settings that they share."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.dump import flat, flow
from pgcli.config.fields import fields, lookup, real_name
from pgcli.config.load import resolve
from pgcli.config.schema import STOPS, RunConfig
from pgcli.envs import user_modules
from pgcli.envs.full_id import full_id
from pgcli.errors import UsageError
from pgcli.ladder.jobs import Job
from pgcli.training.space_defaults import look

SAME = ("env", "network")
"""Sections that all rungs share: the network and the environments."""

SAME_KEYS = ("eval.episodes", "eval.final_episodes", "host.vectorizer", "accelerator")

DECIDED = ("algo.name", "env.id", "seed", "steps", *STOPS)
"""Keys that the ladder sets itself and `--set` must not."""

HIDDEN = ("seed", "log.", "checkpoint.", "eval.every", "parallel.")
"""Keys that do not change what a rung learns, or are derived."""


@dataclass(frozen=True)
class Request:
    """The options of a ladder.

    Attributes:
      algos: rungs, in the order of the registry.
      steps: budget of each run; None for the largest budget of the rungs' presets.
      threshold: return to reach; None for the environment's own threshold, if any.
      sets: `path=value` texts, for the rungs that have the key.
      lrs: learning rates of some rungs.
      tune: learning rates to choose from for all other rungs; empty for the presets'.
      tune_seeds: seeds of the runs that choose.
      jobs: number of runs at once.
    """

    env: str
    algos: tuple[str, ...]
    seeds: tuple[int, ...]
    out: Path
    steps: int | None = None
    threshold: float | None = None
    sets: tuple[str, ...] = ()
    lrs: Mapping[str, float] = field(default_factory=dict)
    tune: tuple[float, ...] = ()
    tune_seeds: tuple[int, ...] = ()
    jobs: int = 1


@dataclass(frozen=True)
class Rung:
    """One rung, configured for the first seed with the `path=value` texts of `sets`."""

    algo: str
    config: RunConfig
    preset: str | None
    sets: tuple[str, ...]

    def with_lr(self, lr: float) -> "Rung":
        """This rung with another learning rate."""
        config = self.config.with_values({"optimizer.lr": lr})
        return dataclasses.replace(
            self, config=config, sets=(*self.sets, f"optimizer.lr={flow(lr)}")
        )

    def job(self, seed: int, runs_dir: Path, label: str = "") -> Job:
        """Its run with a seed; `label` distinguishes runs with the same seed."""
        config = dataclasses.replace(self.config, seed=seed)
        return self._job(f"{self.algo}{label}-s{seed}", runs_dir, config, [])

    def side_by_side(
        self, seeds: Sequence[int], runs_dir: Path, lrs: Sequence[float] = ()
    ) -> Job:
        """Its runs with consecutive seeds (and learning rates) in one program."""
        grid = {"optimizer.lr": tuple(lrs)} if lrs else {}
        config = dataclasses.replace(
            self.config, seed=seeds[0], seeds=len(seeds), grid=grid
        )
        more = ["--seeds", f"{seeds[0]}:{seeds[-1] + 1}"]
        if lrs:
            more += ["--grid", "optimizer.lr=" + ",".join(map(flow, lrs))]
        return self._job(self.algo, runs_dir, config, more)

    def _job(
        self, name: str, runs_dir: Path, config: RunConfig, more: Sequence[str]
    ) -> Job:
        arguments = ["--algo", self.algo, "--env", config.env.id]
        arguments += ["--steps", str(config.steps)]
        arguments += more or ["--seed", str(config.seed)]
        for module in user_modules.NAMED:
            arguments += ["--env-module", module]
        for module in user_modules.NETWORKS:
            arguments += ["--network-module", module]
        for text in self.sets:
            arguments += ["--set", text]
        return Job(name, runs_dir, config, tuple(arguments))


def algorithms(names: Sequence[str] | None) -> tuple[str, ...]:
    """Rungs by name in the order of the registry, all for None; else a UsageError."""
    chosen = set(ALGORITHM_CONFIGS) if names is None else {*map(real_name, names)}
    return tuple(name for name in ALGORITHM_CONFIGS if name in chosen)


def make_rungs(request: Request) -> list[Rung]:
    """Every rung with its preset and the settings that all rungs share.

    If presets disagree on a shared key, its default is used.

    Raises:
      ConfigError: the settings of a rung are invalid.
      UsageError: `--set` changes a key that the ladder sets itself.
    """
    sets = {
        algo: tuple(text for text in request.sets if _concerns(text, algo, request))
        for algo in request.algos
    }
    first = {algo: _resolve(request, algo, sets[algo]) for algo in request.algos}
    steps = request.steps or max(rung.config.steps for rung in first.values())
    common = tuple(reconcile([rung.config for rung in first.values()]))
    rungs = []
    for algo in request.algos:
        own = (*common, *sets[algo])
        lr = request.lrs.get(algo)
        if lr is not None:
            own = (*own, f"optimizer.lr={flow(lr)}")
        rung = _resolve(dataclasses.replace(request, steps=steps), algo, own)
        _check(rung, request, steps)
        rungs.append(rung)
    return rungs


def _concerns(text: str, algo: str, request: Request) -> bool:
    """Whether a `--set` applies to a rung: it does to all rungs that have the key.

    A key that no rung has applies to all rungs, so that it is reported as unknown.
    """
    path = text.partition("=")[0].strip()
    owners = [each for each in request.algos if lookup(path, each) != "unknown"]
    return algo in owners or not owners


def _resolve(request: Request, algo: str, sets: tuple[str, ...]) -> Rung:
    flags = {
        "algo.name": (algo, "--algo"),
        "env.id": (request.env, "--env"),
        "seed": (request.seeds[0], "--seed"),
        "steps": (request.steps, "--steps"),
    }
    resolved = resolve(file=None, flags=flags, sets=sets, spaces=look, full_id=full_id)
    return Rung(algo, resolved.config, resolved.preset, sets)


def _check(rung: Rung, request: Request, steps: int) -> None:
    config = rung.config
    asked = (rung.algo, request.env, request.seeds[0], steps, *(None,) * len(STOPS))
    got = tuple(flat(config)[key] for key in DECIDED)
    for key, wanted, found in zip(DECIDED, asked, got, strict=True):
        if wanted != found:
            raise UsageError(
                f"`--set {key}={flow(found)}`: a ladder trains every rung with "
                f"{key} {flow(wanted)}",
                help="use the ladder's own flags; it always uses the whole budget",
            )
    if (request.lrs or request.tune) and any("optimizer.lr" in s for s in request.sets):
        raise UsageError("`--set optimizer.lr` excludes `--lr` and `--tune`")


def reconcile(configs: Sequence[RunConfig]) -> list[str]:
    """`path=default` for every key that must be shared and differs."""
    trees = [flat(config) for config in configs]
    known = fields(configs[0].algo.name)
    return [
        f"{key}={flow(known[key].default)}"
        for key in trees[0]
        if (key.split(".")[0] in SAME or key in SAME_KEYS)
        and any(tree[key] != trees[0][key] for tree in trees)
    ]


def settings(rungs: Sequence[Rung]) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """(common, own): settings that all rungs share, and the others by rung."""
    trees = {rung.algo: _shown(rung.config) for rung in rungs}
    common = {
        key: value
        for key, value in trees[rungs[0].algo].items()
        if all(key in tree and tree[key] == value for tree in trees.values())
    }
    if len(rungs) == 1:  # a single rung: the keys of its algorithm are its own
        common = {k: v for k, v in common.items() if not k.startswith("algo.")}
    own = {
        algo: {key: value for key, value in tree.items() if key not in common}
        for algo, tree in trees.items()
    }
    return common, own


def _shown(config: RunConfig) -> dict[str, Any]:
    """The keys that influence what a run learns."""
    episodes = config.algo.collects == "episodes"
    unused = "rollout.num_steps" if episodes else "rollout.episodes_per_env"
    return {
        key: value
        for key, value in flat(config).items()
        if not key.startswith(HIDDEN) and key not in (unused, "algo.name")
    }
