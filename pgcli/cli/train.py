"""`pgcli train`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer

from pgcli.cli import options
from pgcli.cli.report import next_step, summary
from pgcli.cli.ui import Terminal, table
from pgcli.errors import UsageError

if TYPE_CHECKING:
    from pgcli.config.load import Resolved

EXAMPLES = """\
pgcli train                                  (ppo2 on CartPole-v1)
pgcli train --algo a2c --env Pendulum-v1 --seed 3
pgcli train -c my.yaml --set optimizer.lr=1e-3 --set network.hidden=[32,32]
pgcli train --name lr1e-3 --resume auto -q --json"""

Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", help="name of the run", show_default="new"),
]
Resume = Annotated[
    str,
    typer.Option(
        "--resume",
        metavar="never|auto",
        help="auto: start, continue, or end at once where the run is finished",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="replace the run of this name")
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="show what would run, and stop")
]


def train(
    terminal: Terminal,
    algo: options.Algo = None,
    env: options.Env = None,
    config: options.ConfigFile = None,
    no_preset: options.NoPreset = False,
    seed: options.Seed = None,
    steps: options.Steps = None,
    until_return: options.UntilReturn = None,
    accelerator: options.Accelerator = None,
    name: Name = None,
    runs_dir: options.RunsDir = Path("runs"),
    resume: Resume = "never",
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    sets: options.Sets = None,
) -> None:
    """Train an agent; with no option, ppo2 on CartPole-v1."""
    if resume not in ("never", "auto"):
        raise UsageError(f"`--resume {resume}`: expected never or auto")
    if resume == "auto" and overwrite:
        raise UsageError("`--resume auto` and `--overwrite` exclude each other")
    resolved = options.resolve_config(
        algo=algo,
        env=env,
        config=config,
        no_preset=no_preset,
        seed=seed,
        steps=steps,
        until_return=until_return,
        accelerator=accelerator,
        sets=sets,
    )
    if dry_run:
        data = plan(resolved)
        terminal.answer(_plan_text(data), data)
        return
    terminal.note(_source(resolved, config))
    from pgcli.cli.live import reporting
    from pgcli.train import run as training

    with reporting(terminal) as reporter:
        result = training.train(
            resolved,
            runs_dir=runs_dir,
            name=name,
            resume=cast(Literal["never", "auto"], resume),
            overwrite=overwrite,
            reporter=reporter,
        )
    terminal.answer(summary(result), result)
    terminal.note(next_step(result))


def _source(resolved: "Resolved", file: Path | None) -> str:
    config = resolved.config
    if file is not None:
        return f"configuration: {file}"
    if resolved.preset is not None:
        return f"configuration: preset {resolved.preset}"
    return f"configuration: defaults of {config.algo.name}, no preset"


def plan(resolved: "Resolved") -> dict[str, Any]:
    """What a run of this configuration would do, from the configuration alone."""
    from pgcli.config.load import to_mapping

    config = resolved.config
    batch = config.env.num_envs * config.rollout.num_steps
    iterations = math.ceil(config.steps / batch)
    epochs = getattr(config.algo, "num_epochs", 1)
    minibatches = getattr(config.algo, "num_minibatches", 1)
    return {
        "ok": True,
        "dry_run": True,
        "algo": config.algo.name,
        "env": config.env.id,
        "preset": resolved.preset,
        "seed": config.seed,
        "accelerator": config.accelerator,
        "batch_size": batch,
        "iterations": iterations,
        "steps": {"asked": config.steps, "used": iterations * batch},
        "gradient_steps": iterations * epochs * minibatches,
        "config": to_mapping(config),
    }


def _plan_text(data: dict[str, Any]) -> str:
    steps = data["steps"]
    return table(
        [
            ("algorithm", data["algo"]),
            ("environment", data["env"]),
            ("preset", data["preset"] or "none"),
            ("seed", str(data["seed"])),
            ("accelerator", data["accelerator"]),
            ("batch size", f"{data['batch_size']:,}"),
            ("iterations", f"{data['iterations']:,}"),
            ("steps", f"{steps['asked']:,} asked, {steps['used']:,} used"),
            ("gradient steps", f"{data['gradient_steps']:,}"),
        ]
    )
