"""What is known about a run: how far it is, its result, and advice."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pgcli.charts import rows
from pgcli.config.load import of_run
from pgcli.config.schema import RunConfig
from pgcli.errors import UsageError
from pgcli.report.text import clock, interval, number, short
from pgcli.storage import json_files
from pgcli.storage.curves import clock_of
from pgcli.storage.run_directory import RunDirectory
from pgcli.storage.run_list import RunSummary, summarize
from pgcli.training import machine
from pgcli.training.advice import Advisor


class Fact(NamedTuple):
    """A fact on a run: `value` is what the eye looks for, `detail` the rest."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True)
class Overview:
    """A run as `pgcli runs show` and `pgcli report` present it.

    `meta` and `result` (empty before the run has ended) are the contents of meta.json
    and result.json; `best` is name and score of the best checkpoint.
    """

    run: RunDirectory
    summary: RunSummary
    config: RunConfig
    meta: Mapping[str, Any]
    result: Mapping[str, Any]
    best: tuple[str, float] | None

    @classmethod
    def of(cls, run: RunDirectory) -> "Overview":
        """The overview of a run.

        Raises:
          UsageError: it has no configuration, or one with mistakes (`ConfigError`).
          CheckpointError: another of its files is damaged.
        """
        if not run.config_yaml.is_file():
            raise UsageError(
                "the run has no config.yaml: it was stopped before it began",
                where=str(run.path),
                help=f"`pgcli runs rm {run.name} --yes` deletes it",
            )
        return cls(
            run,
            summarize(run),
            of_run(run.config_yaml).config,
            run.read_meta(),
            run.read_result() or {},
            run.best(),
        )

    @property
    def origins(self) -> Mapping[str, str]:
        """Origin of each key; empty for runs of versions that did not record it."""
        return self.meta.get("origins") or {}

    @property
    def title(self) -> str:
        """Algorithm, environment, seeds and preset."""
        config, preset = self.config, self.meta.get("preset")
        last = config.seed + config.seeds - 1
        parts = [
            f"{config.algo.name} on {config.env.id}",
            f"seeds {config.seed} to {last}" if config.seeds > 1 else f"seed {last}",
            *(f"{len(values)} values of {key}" for key, values in config.grid.items()),
        ]
        return ", ".join([*parts, f"preset {preset}"] if preset else parts)

    @property
    def evaluation(self) -> tuple[Mapping[str, Any], str] | None:
        """(statistics, agent that they belong to).

        Those of the final evaluation, or else the last periodic one of a single run.
        """
        if row := self.result.get("eval"):
            iteration = (self.result.get("checkpoint") or "").rpartition("/")[2]
            where = f"checkpoint {iteration}" if iteration else "the last iteration"
            return row, f"final evaluation, {where}"
        rows = json_files.last_rows(self.run.eval_jsonl)
        if len(rows) != 1:
            return None
        return rows[0], f"evaluation after iteration {rows[0].get('iteration')}"

    def facts(self) -> Iterator[Fact]:
        """How far the run is, its scores and its time."""
        steps, asked = self.summary.steps or 0, self.config.steps
        state = f"{steps:,} of {asked:,} steps"
        if self.summary.status == "finished":
            state += f", {str(self.result.get('stopped', '')).replace('_', ' ')}"
        else:
            state += f", {min(steps / asked, 1):.0%}"
        yield Fact("state", self.summary.status, state)

        # statistics over all values of a grid would mix different settings
        grid = bool(self.config.grid)
        if self.evaluation and not grid:
            row, where = self.evaluation
            mean, _, detail = interval(row).replace("  ", ", ", 1).partition(", ")
            yield Fact("eval return", mean, f"{detail}; {where}")
        if self.best:
            score, where = number(self.best[1]), f"checkpoint {self.best[0]}"
            yield Fact("best eval", score, where)
        last = json_files.last_rows(self.run.metrics_jsonl)
        training = (self.result.get("train") or {}).get("return_mean")
        if training is None and len(last) == 1:
            training = last[0].get("return_mean")
        if training is not None and not grid:
            yield Fact("train return", number(training), "last 100 episodes")
        yield from self._time()

    def machine(self) -> Iterator[tuple[str, str]]:
        """(name, text) of the hardware and the versions that it was trained with."""
        if used := self.meta.get("accelerator"):
            devices = f"{used.get('platform')} ×{used.get('devices', 1)}"
            kind = used.get("kind", "cpu")
            more = [kind] * (kind != "cpu") + [self.meta.get("helpers") or ""]
            yield "accelerator", ", ".join(filter(None, [devices, *more]))
        yield from machine.facts(self.meta.get("machine") or {})
        yield from (self.meta.get("versions") or {}).items()

    def advice(self) -> Iterator[str]:
        """Problems that the logs and the result show, in words, with remedies."""
        advisor, name, skipped = Advisor(), self.run.name, []
        for row in rows.rows(self.run.metrics_jsonl, self.config.num_members):
            for text in advisor.advise(row):
                yield f"from step {row.get('steps', 0):,}: {text}"
            if row.get("skipped"):
                skipped.append(row.get("steps", 0))
        if skipped:
            yield (
                f"from step {skipped[0]:,}: gradients were not finite in "
                f"{len(skipped)} rows of the log: try a lower optimizer.lr, or "
                "normalize.obs and normalize.reward"
            )
        for each in self.result.get("members", ()):
            if each.get("diverged"):
                yield f"seed {each['seed']} diverged: {each['diverged']}"
        if self.summary.status == "stopped":
            yield f"the run is not finished: `pgcli resume {name}` continues it"
        row = self.result.get("eval") or {}
        high = (row.get("return_ci") or [None, None])[1]
        if self.best and high is not None and self.best[1] > high and "runs" not in row:
            yield (
                f"the best evaluation ({number(self.best[1])}) is above the interval "
                f"of the final one: `pgcli eval {name} --best` evaluates that "
                "checkpoint on the same episodes"
            )

    def _time(self) -> Iterator[Fact]:
        if spent := self.result.get("seconds"):
            rate = short(self.result.get("steps_per_second"))
            detail = f"compile {number(spent['compile'])} s, {rate} steps/s"
            yield Fact("time", clock(spent["total"]), detail)
            return
        done, seconds = (float(column[-1]) for column in clock_of(self.run))
        if done and seconds:
            detail = f"{short(done * self.config.num_members / seconds)} steps/s"
            left = (self.config.steps - done) * seconds / done
            if self.summary.status == "running" and left > 0:
                detail += f", about {clock(left)} left"
            yield Fact("time", clock(seconds), detail)
