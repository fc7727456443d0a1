"""`pgcli ladder`: comparison of the rungs by returns, or by the noise of gradients."""

import dataclasses
import re
from typing import TYPE_CHECKING

from pgcli.cli import ladder_options as own
from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.terminal import ladder_text
from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.formatting import clock, number
from pgcli.errors import UsageError
from pgcli.extras import pip_install
from pgcli.runs_dir import RUNS_DIR

if TYPE_CHECKING:
    from pgcli.ladder.jobs import Job, Outcome
    from pgcli.ladder.plan import Request

EXAMPLES = """\
pgcli ladder --env CartPole-v1 --seeds 10
pgcli ladder --algos a2c,ppo2 --steps 100_000 --set network.hidden=[32,32]
pgcli ladder --seeds 0:20 --tune 3e-4,1e-3,3e-3,1e-2 --tune-seeds 100:105
pgcli ladder --env func:CartPole-v1 --gradient-variance"""

NOTES = """\
Each run is a separate `pgcli train` in OUT/runs. Finished runs are not
repeated, so the same command continues an interrupted ladder. A rung keeps the
settings of its preset, but all rungs share network, environments, budget and
seeds.

  final return  mean unscaled return of the last 100 training episodes
  area          its mean over the budget: area under the training curve
  IQM [95 %]    interquartile mean over seeds; bootstrap interval over seeds
  threshold     median steps until the mean of 100 episodes reached it, and the
                number of seeds that did
  KL, ESS       per update: KL(π_old‖π) in nats, effective fraction of samples

--gradient-variance compares a fresh policy with one trained briefly by the
last rung, both with the first seed.

OUT/ladder.json contains the output of --json and the curves, ladder.csv the
table; curves.png and curves.svg show the curves (extra: plot).

JSON
  env, steps, seeds, threshold, maximum, common, tuning, files,
  rungs [{algo, preset, lr, settings, final, auc, eval, threshold, kl, ess,
  diverged, runs}], order [{lower, relation, upper, difference, ci, tolerance,
  seeds, verdict}]
  with --gradient-variance: env, algo, seed, episodes, gamma, files, points
  [{policy, steps, rows [{weight, estimates, variance, signal, ratio, ci}]}]"""


def ladder(
    terminal: Terminal,
    flags: options.Flags,
    seeds: own.Seeds = "10",
    algos: own.Algos = None,
    steps: own.Steps = None,
    threshold: own.Threshold = None,
    out: own.Out = None,
    rates: own.Rates = None,
    tune: own.Tune = None,
    tune_seeds: own.TuneSeeds = None,
    jobs: own.Jobs = 1,
    gradient_variance: own.GradientVariance = False,
    episodes: own.Episodes = None,
) -> None:
    """Train the rungs on the same seeds and compare them in one table."""
    from pgcli.ladder.plan import Request, algorithms

    # parse the options

    options.use_modules(flags["env_modules"], flags["network_modules"])
    env_id = flags["env"] or options.DEFAULTS.env.id
    slug = re.sub(r"[^A-Za-z0-9._-]", "-", env_id)
    chosen = algorithms(algos.split(",") if algos is not None else None)
    numbers = tuple(own.seed_range(seeds, "--seeds"))
    if tune_seeds is not None and tune is None:
        raise UsageError("`--tune-seeds` needs --tune")
    others = own.seed_range(tune_seeds or own.TUNE_SEEDS, "--tune-seeds")
    lrs = dict(own.rate(text, chosen) for text in rates or ())
    grid = (
        tuple(own.positive(text, "--tune") for text in tune.split(",")) if tune else ()
    )

    # the plan of the runs
    request = Request(
        env=env_id,
        algos=chosen,
        seeds=numbers,
        out=(out or RUNS_DIR / f"ladder-{slug}").absolute(),
        steps=steps,
        threshold=threshold,
        sets=tuple(flags["sets"] or ()),
        lrs=lrs,
        tune=grid,
        tune_seeds=tuple(others) if grid else (),
        jobs=jobs,
    )
    if set(request.tune_seeds) & set(numbers):
        raise UsageError("`--tune-seeds` must share no seed with `--seeds`")

    # one of the two comparisons
    if gradient_variance:
        if lrs or grid or threshold is not None or jobs != 1:
            raise UsageError(
                "`--gradient-variance` takes no --lr, --tune, --threshold or --jobs"
            )
        _variance(terminal, request, episodes or own.EPISODES)
        return
    if episodes is not None:
        raise UsageError("`--episodes` needs --gradient-variance")
    _compare(terminal, request)


def _compare(terminal: Terminal, request: "Request") -> None:
    from pgcli.ladder import result_files
    from pgcli.ladder.comparison import run_ladder
    from pgcli.report import plot

    result = run_ladder(request, Progress(terminal))
    paths = result_files.write(result, request.out)
    if plot.is_available():
        paths |= plot.learning_curves(result, request.out)
    else:
        terminal.note(f"no plot: it needs {pip_install(plot.EXTRA)}")
    del result["curves"]
    result["files"] = paths
    terminal.answer(ladder_text.comparison(result), result)


def _variance(terminal: Terminal, request: "Request", episodes: int) -> None:
    from pgcli.ladder import result_files
    from pgcli.ladder.plan import make_rungs

    # schedules use the budget of the preset: `--steps` has another meaning here
    [*_, rung] = make_rungs(dataclasses.replace(request, steps=None))
    from pgcli.ladder.gradient_noise_over_training import (
        gradient_variance,  # imports JAX, so after all usage errors
    )

    result = gradient_variance(
        rung.config,
        steps=request.steps or own.TRAINED_STEPS,
        episodes=episodes,
        tell=terminal.note,
    )
    result["files"] = result_files.write_variance(result, request.out)
    terminal.answer(ladder_text.variance(result), result)


class Progress:
    """One line on stderr for each run that ends."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._count = self._done = 0
        self._workers = 1
        self._seconds: list[float] = []

    def begin(self, title: str, count: int, workers: int) -> None:
        """Reports that `count` runs begin."""
        self._count, self._done, self._workers = count, 0, workers
        self._seconds = []
        self._terminal.note(f"{title}: {count} runs, {workers} at a time")

    def ended(self, outcome: "Outcome") -> None:
        """Reports the result of a run and the remaining time."""
        self._done += 1
        place = f"[{self._done:{len(str(self._count))}}/{self._count}]"
        name = outcome.job.name
        if outcome.seconds is None:
            self._terminal.note(f"{place} {name}  finished before")
            return
        self._seconds.append(outcome.seconds)
        each = sum(self._seconds) / len(self._seconds)
        left = each * (self._count - self._done) / self._workers
        text = f"diverged: {outcome.diverged}"
        if outcome.result is not None:
            train, final = outcome.result["train"], outcome.result["eval"] or {}
            text = f"train return {number(train['return_mean'])}"
            text += f"  eval {number(final.get('return_mean'))}"
        rest = f"  {clock(left)} left" if self._done < self._count else ""
        self._terminal.note(f"{place} {name}  {text}  {outcome.seconds:.0f} s{rest}")

    def waiting(self, job: "Job") -> None:
        """Reports that another process is training this run."""
        self._terminal.note(f"{job.name} is being trained by another process: waiting")


COMMAND = Command(
    ladder, EXAMPLES, NOTES, ["env", "env_modules", "network_modules", "sets"]
)
