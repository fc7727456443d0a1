"""`pgcli video`."""

import re
from pathlib import Path
from typing import Annotated

from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.commands.evaluate import Best, EvalSeed, Stochastic, Target
from pgcli.cli.options import option
from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.formatting import number
from pgcli.config.bounds import MAX_EPISODES
from pgcli.errors import UsageError
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli video runs/NAME
pgcli video NAME --best --episodes 3 -o best.mp4
pgcli video NAME --grid 2x3 -o agents.gif"""

Out = Annotated[
    Path | None, option("-o,--out FILE", "video to write: .mp4 or .gif", "RUN.mp4")
]
Episodes = Annotated[
    int,
    option(
        "--episodes N",
        "episodes, one after the other",
        parser=options.whole_number(1, MAX_EPISODES),
    ),
]
Grid = Annotated[str, option("--grid RxC", "rows and columns of simultaneous episodes")]


def video(
    terminal: Terminal,
    target: Target,
    out: Out = None,
    best: Best = False,
    member: options.Member = None,
    episodes: Episodes = 1,
    grid: Grid = "1x1",
    stochastic: Stochastic = False,
    seed: EvalSeed = 0,
    env_modules: options.EnvModules = None,
    network_modules: options.NetworkModules = None,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Record an agent in its environment, without a display."""
    shape = re.fullmatch(r"([1-9]\d?)x([1-9]\d?)", grid)
    if shape is None:
        raise UsageError(f"`--grid {grid}`: expected ROWSxCOLUMNS, such as 2x3")
    options.use_modules(env_modules, network_modules)
    from pgcli.report.video import check_path, record

    if out is not None:
        check_path(out)
    result = record(
        target,
        out=out,
        best=best,
        member=member,
        episodes=episodes,
        grid=(int(shape[1]), int(shape[2])),
        deterministic=not stochastic,
        seed=seed,
        runs_dir=runs_dir,
    )
    played = result["episodes"]
    returns = ", ".join(number(one["return"]) for one in played[:8])
    rows = [
        (
            "written",
            f"{result['path']} ({result['frames']} frames, {result['bytes']:,} bytes)",
        ),
        ("from", f"{result['checkpoint']} (iteration {result['iteration']})"),
        ("returns", returns + (" …" if len(played) > 8 else "")),
    ]
    terminal.answer(table(rows), {"ok": True, **result})


COMMAND = Command(video, EXAMPLES)
