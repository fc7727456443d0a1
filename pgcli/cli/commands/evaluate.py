"""`pgcli eval`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pgcli.cli import completers, options
from pgcli.cli.command import Command
from pgcli.cli.options import option
from pgcli.cli.quick_imports import quick_imports
from pgcli.cli.terminal.console import Terminal, table, to_json
from pgcli.cli.terminal.errors import newest_run
from pgcli.cli.terminal.formatting import interval, members_table, number, raw_return
from pgcli.config.bounds import MAX_EPISODES, MAX_SEED
from pgcli.config.dump import flow
from pgcli.errors import ExitCode, PgcliError, UsageError
from pgcli.report.text import csv_text
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli eval runs/NAME
pgcli eval NAME --best --episodes 100 --json
pgcli eval NAME --min-return 475             (exit 8 below it)
pgcli eval NAME --env-kwargs gravity=5       (under other physics)
pgcli eval --agent random CartPole-v1        (the level of chance)"""

EPISODES, SHOWN_EPISODES = 100, 3

Target = Annotated[
    str,
    typer.Argument(
        metavar="RUN|CHECKPOINT",
        help="name or path of a run, or path of a checkpoint",
        autocompletion=completers.complete_run,
    ),
]
Subject = Annotated[
    str | None,
    typer.Argument(
        metavar="RUN|CHECKPOINT|ENV",
        help="name or path of a run, or path of a checkpoint; with --agent also the id "
        "of an environment",
        show_default=False,
        autocompletion=options.complete_run,
    ),
]
Who = Annotated[
    str,
    option(
        "--agent WHO",
        "trained, random (samples of the action space) or zero (the first action)",
    ),
]
Episodes = Annotated[
    int | None,
    option(
        "--episodes N",
        "number of episodes",
        f"{EPISODES}, or {SHOWN_EPISODES} in a window",
        parser=options.whole_number(1, MAX_EPISODES),
    ),
]
Best = Annotated[bool, option("--best", "use the best checkpoint, not the last")]
OtherEnv = Annotated[
    str | None,
    option(
        "--env ID",
        "environment",
        "the agent's own",
        autocompletion=completers.complete_env,
    ),
]
Stochastic = Annotated[
    bool, option("--stochastic", "sample actions instead of using the mode")
]
EnvSets = Annotated[
    list[str] | None,
    option(
        "--set env.KEY=VALUE",
        "other value of env.kwargs, env.max_episode_steps or env.wrappers, repeatable",
    ),
]
EvalSeed = Annotated[
    int,
    option(
        "--seed N", "seed of the episodes", parser=options.whole_number(0, MAX_SEED)
    ),
]
EpisodesOut = Annotated[
    Path | None,
    option("--episodes-out FILE", "write one row per episode (.csv, else JSON lines)"),
]
Render = Annotated[
    str | None, option("--render human", "show one environment in a window", False)
]
MinReturn = Annotated[
    float | None, option("--min-return X", "exit 8 if the mean return is below")
]


class BelowMinReturn(PgcliError):  # noqa: N818 - a result, not an error
    """The mean return is below `--min-return`."""

    exit_code = ExitCode.BELOW_MIN_RETURN


def evaluate(
    terminal: Terminal,
    target: Subject = None,
    agent: Who = "trained",
    episodes: Episodes = None,
    best: Best = False,
    member: options.Member = None,
    env: OtherEnv = None,
    env_modules: options.EnvModules = None,
    network_modules: options.NetworkModules = None,
    env_kwargs: options.EnvKwargs = None,
    sets: EnvSets = None,
    stochastic: Stochastic = False,
    seed: EvalSeed = 0,
    render: Render = None,
    episodes_out: EpisodesOut = None,
    min_return: MinReturn = None,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Evaluate the agent of a run or checkpoint, or the level of chance."""
    if agent == "trained":
        given = {}
    else:
        given = {"--best": best, "--member": member, "--stochastic": stochastic}
    for flag in (flag for flag, value in given.items() if value):
        raise UsageError(f"`--agent {agent}` takes no {flag}: nothing was trained")
    target = target or (env if agent != "trained" else None)
    if target is None:
        kind = "RUN|CHECKPOINT" + "|ENV" * (agent != "trained")
        raise UsageError(
            f"{kind} is missing", where="pgcli eval", help=newest_run(runs_dir)
        )
    if render not in (None, "human"):
        help = "--render human shows a window; `pgcli video` writes a file"
        raise UsageError(f"`--render {render}`: expected human", help=help)
    episodes = episodes or (SHOWN_EPISODES if render else EPISODES)
    if episodes_out is not None and not episodes_out.parent.is_dir():
        raise UsageError(
            f"`--episodes-out`: there is no directory {episodes_out.parent}"
        )
    # absolute, since an environment may change the working directory
    episodes_out = episodes_out and episodes_out.absolute()
    options.use_modules(env_modules, network_modules)
    from pgcli.cli.terminal.live_view import EpisodeLines

    with quick_imports():
        from pgcli.training.evaluation import evaluate as evaluation
        from pgcli.training.evaluation import saved_agents

    played = target
    if agent == "trained":
        played = str(saved_agents.find_checkpoint(target, runs_dir, best))
    terminal.note(f"evaluating {target}: {episodes} episodes…")
    result = evaluation.evaluate(
        played,
        runs_dir=runs_dir,
        agent=agent,
        episodes=episodes,
        env_id=env,
        env_kwargs=env_kwargs or (),
        env_sets=sets or (),
        deterministic=not stochastic,
        seed=seed,
        member=member,
        on_screen=render is not None,
        warn=terminal.warn,
        watch=EpisodeLines(terminal),
    )
    # rows of all episodes; those of a member carry its index and seed
    rows = result.pop("per_episode", [])
    for each in result.get("members", []):
        label = {key: each[key] for key in ("member", "seed")}
        label["run_seed"] = label.pop("seed")
        rows += [label | row for row in each.pop("per_episode")]
    if episodes_out is not None:
        lines = "".join(to_json(row) + "\n" for row in rows)
        text = csv_text(rows) if episodes_out.suffix == ".csv" else lines
        options.write(episodes_out, text, overwrite=True)
    # the comparison is false for NaN
    mean = result["return_mean"]
    if min_return is not None and not mean >= min_return:
        if not terminal.json:
            terminal.answer(_text(result), result)
        raise BelowMinReturn(
            f"mean return {number(mean, 2)} is below --min-return {min_return:g}",
            result=result,
        )
    terminal.answer(_text(result), result)


def _text(result: Mapping[str, Any]) -> str:
    # the agent: its own seed is that of training
    agent, member = f"{result['algo']} on {result['env']}", result.get("member")
    if result.get("agent", "trained") != "trained":
        agent = f"{result['agent']} actions in {result['env']}"
    elif member is not None:
        label = {key: flow(value) for key, value in member.items() if key != "member"}
        agent += f", member {member['member']}: "
        agent += ", ".join(f"{key} {text}" for key, text in label.items())
    elif "members" in result:
        agent += f", {len(result['members'])} members"
    else:
        agent += f", trained with seed {result['run_seed']}"

    # statistics over all values of a grid would mix different settings
    bounds = f"{number(result['return_min'])} to {number(result['return_max'])}"
    spread = f"median {number(result['return_median'])}, {bounds}, "
    spread += f"std {number(result['return_std'])}"
    scores = [
        ("return", interval(result)),
        *raw_return(result),
        ("spread", spread),
        ("length", number(result["length_mean"])),
    ]
    origin = [
        ("run", str(result["run"])),
        ("checkpoint", f"{result['checkpoint']} (iteration {result['iteration']})"),
    ]
    changes = [
        f"{key} {flow(values['evaluated'])}, trained with {flow(values['trained'])}"
        for key, values in result.get("env_changes", {}).items()
    ]
    return table(
        [
            *(origin if result["run"] else ()),
            ("agent", agent),
            *(("environment", text) for text in changes),
            ("episodes", f"{result['episodes']}, seed {result['seed']}"),
            *(scores if len(result.get("cells", ())) < 2 else ()),
        ]
    ) + members_table(result)


COMMAND = Command(evaluate, EXAMPLES)
