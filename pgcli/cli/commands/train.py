"""`pgcli train`."""

import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pgcli.cli import completers, options
from pgcli.cli.command import Command
from pgcli.cli.options import option
from pgcli.cli.quick_imports import quick_imports
from pgcli.cli.terminal.chart import draw
from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.formatting import next_step
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS
from pgcli.config.dump import flow
from pgcli.config.schema import is_own_network
from pgcli.errors import UsageError
from pgcli.runs_dir import RUNS_DIR

if TYPE_CHECKING:
    from pgcli.config.load import Resolved

EXAMPLES = """\
pgcli train                                  (ppo2 on CartPole-v1)
pgcli train --algo a2c --env Pendulum-v1 --seed 3
pgcli train -c my.yaml --set optimizer.lr=1e-3 --set network.hidden=[32,32]
pgcli train --patience 5 --max-seconds 10m   (whichever comes first)
pgcli train --name lr1e-3 --resume auto -q --json"""

TRAPS = """\
Names with other meanings elsewhere
  `ppo1` is the adaptive KL penalty of section 4 of the PPO paper (arXiv
  1707.06347). The folder `ppo1` of openai/baselines contains clipped PPO, which
  is our ppo2. `vpg` is reinforce. VPG of Spinning Up has a critic, as our a2c."""


def _algorithms() -> str:
    """Help on all algorithms: name and aliases, one sentence, equation."""
    lines = ["Algorithms (objective to maximise; θ' is the policy that acted)"]
    for name, cls in ALGORITHM_CONFIGS.items():
        aliases = [alias for alias, real in ALGORITHM_ALIASES.items() if real == name]
        label = ", ".join([name, *aliases])
        sentence = (cls.__doc__ or "").partition("\n")[0]
        lines += [f"  {label:20}{sentence}", f"  {'':22}{cls.equation}"]
    return "\n".join(lines)


NOTES = f"{_algorithms()}\n\n{TRAPS}"

Name = Annotated[str | None, option("--name NAME", "name of the run", "new")]
Resume = Annotated[
    str,
    option(
        "--resume never|auto",
        "auto: start the run of --name or continue it; do nothing if it is finished",
        autocompletion=completers.choices("never", "auto"),
    ),
]
InitFrom = Annotated[
    str | None,
    option(
        "--init-from RUN",
        "begin with the weights of this run or checkpoint",
        autocompletion=completers.complete_run,
    ),
]
Overwrite = Annotated[bool, option("--overwrite", "replace the run of this name")]
DryRun = Annotated[
    bool, option("--dry-run", "make the environment and show the plan of the run")
]


def train(
    terminal: Terminal,
    flags: options.Flags,
    name: Name = None,
    runs_dir: options.RunsDir = RUNS_DIR,
    resume: Resume = "never",
    init_from: InitFrom = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    distributed: options.Distributed = None,
    coordinator: options.Coordinator = None,
    process: options.Process = None,
) -> None:
    """Train an agent; by default, ppo2 on CartPole-v1."""
    if resume not in ("never", "auto"):
        raise UsageError(
            f"`--resume {resume}`: expected never or auto",
            help="`pgcli resume RUN` continues a run; `--resume auto` with "
            "`--name NAME` starts or continues one",
        )
    if resume == "auto" and overwrite:
        raise UsageError("`--resume auto` and `--overwrite` exclude each other")

    resolved = options.resolve_config(terminal, flags, spaces=options.look)
    from pgcli.training.distributed.processes import check, from_flags

    processes = from_flags(distributed, coordinator, process)
    if processes is not None:
        check(resolved.config, processes.count)
    from pgcli.storage.run_directory import RunDirectory

    # what can be checked without JAX
    if processes is None or processes.index == 0:
        RunDirectory.check_name(runs_dir, name, resume, overwrite)
    from pgcli.envs import registry
    from pgcli.training.backend import plugins

    registry.check(resolved.config.env)
    plugins.check(resolved.config.accelerator)

    # only show the plan; JAX is imported from here on
    terminal.note(options.source_of(resolved, flags))
    if dry_run:
        from pgcli.training import preview

        data = plan(resolved) | preview.preview(resolved.config)
        if data["warning"] is not None:
            terminal.warn(data["warning"])
        terminal.answer(_plan_text(data), data)
        return

    # train, or take part
    from pgcli.cli.terminal.live_view import follow, watch

    if processes is not None and processes.index > 0:
        follow(terminal, processes, resolved.config)
        return
    with quick_imports():
        from pgcli.training import run as training

    result = watch(
        terminal,
        lambda reporter: training.train(
            resolved,
            runs_dir=runs_dir,
            name=name,
            resume=cast(Literal["never", "auto"], resume),
            overwrite=overwrite,
            reporter=reporter,
            init_from=init_from,
            processes=processes,
        ),
    )
    if terminal.redraws:
        _draw_returns(terminal, Path(result["path"]))
    terminal.note(next_step(result))


FEWEST_POINTS = 3
"""Points from which a curve is worth drawing."""


def _draw_returns(terminal: Terminal, path: Path) -> None:
    """Draws the training return of a run below its result."""
    from pgcli.storage import curves
    from pgcli.storage.run_directory import RunDirectory

    run = RunDirectory.open(path)
    with suppress(UsageError):  # no episode has ended
        panels = curves.panels([run], x="steps", keys=["return_mean"])
        if len(panels[0].curves[0].x) < FEWEST_POINTS:
            return
        terminal.note("\n".join(draw(terminal, panels, color=True)))


def plan(resolved: "Resolved") -> dict[str, Any]:
    """The part of a plan that follows from the configuration: sizes and counts.

    They are those of one member if there are several. If whole episodes are collected,
    values that depend on their lengths are None. `gradient_steps` counts the steps of
    Adam; if the policy takes a step of another kind, those are the critic's.
    """
    from pgcli.config.load import to_mapping

    # sizes that do not depend on the lengths of episodes
    config = resolved.config
    algo, num_envs = config.algo, config.env.num_envs
    episodes = algo.collects == "episodes"
    batch = None if episodes else num_envs * config.rollout.num_steps
    iterations = None if batch is None else math.ceil(config.steps / batch)
    passes = algo.num_epochs * algo.num_minibatches
    return {
        "ok": True,
        "dry_run": True,
        "algo": algo.name,
        "env": config.env.id,
        "preset": resolved.preset,
        "spaces": resolved.spaces,
        "seed": config.seed,
        "members": config.num_members,
        "batch_size": batch,
        "trajectories": num_envs * config.rollout.episodes_per_env
        if episodes
        else None,
        "iterations": iterations,
        "steps": {
            "asked": config.steps,
            "used": None if batch is None or iterations is None else iterations * batch,
        },
        "gradient_steps": None if iterations is None else iterations * passes,
        "trust_region_steps": iterations if algo.separate_policy_step else None,
        "config": to_mapping(config),
    }


def _plan_text(data: dict[str, Any]) -> str:
    depends = "depends on episode lengths"
    steps, count = data["steps"], data["gradient_steps"]
    batch = f"{data['batch_size']:,}" if data["batch_size"] else ""
    iterations = f"{data['iterations']:,}" if data["iterations"] else depends
    used = f"{steps['used']:,} used" if steps["used"] else f"the number used {depends}"

    # gradient steps, with the differences of trpo and early stopping
    updates = f"{count:,}" if count else "one per iteration"
    if data["trust_region_steps"]:
        updates += f" of the critic, {data['trust_region_steps']:,} of the policy"
    elif data["config"]["algo"].get("kl_stop") is not None:
        updates = f"at most {updates}"
    if data["trajectories"]:
        noun = "trajectory" if data["trajectories"] == 1 else "trajectories"
        batch = f"{data['trajectories']:,} {noun}"

    actions = data["actions"]
    if data["action_mask"] is not None:
        actions += f", valid ones by {data['action_mask']}"
    # where values come from, members, and the shape of the network
    kind = f", defaults for {data['spaces']}" if data["spaces"] else ""
    config, limit, seed = data["config"], data["time_limit"], data["seed"]
    last = seed + config["seeds"] - 1
    members = [("grid", f"{key} {flow(x)}") for key, x in config["grid"].items()]
    if data["members"] > 1:
        members.append(("members", f"{data['members']}, trained in one run"))
    network = config["network"]
    torso = f"{network['torso']} {flow(network['hidden'])}"
    if is_own_network(network["torso"]):
        torso = network["torso"]
    if network["encoders"]:
        torso += f" with {flow(network['encoders'])}"
    if network["memory"]:
        torso += f", {network['memory']} of {network['memory_size']}"
    return table(
        [
            ("algorithm", data["algo"]),
            ("environment", data["env"]),
            ("observations", data["observations"]),
            ("actions", actions),
            ("time limit", f"{limit:,} steps" if limit else "none"),
            ("network", f"{torso}, {data['parameters']:,} parameters"),
            ("preset", data["preset"] or "none" + kind),
            ("seed", f"{seed}" if last == seed else f"{seed} to {last}"),
            *members,
            ("accelerator", data["accelerator"]),
            ("batch size", batch),
            ("iterations", iterations),
            ("steps", f"{steps['asked']:,} asked, {used}"),
            ("gradient steps", updates),
        ]
    )


COMMAND = Command(train, EXAMPLES, NOTES, list(options.CONFIG_FLAGS))
