"""`pgcli resume`."""

from typing import Annotated

from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.options import option
from pgcli.cli.quick_imports import quick_imports
from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.formatting import next_step
from pgcli.config.bounds import INT32, STEPS
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli resume runs/NAME
pgcli resume NAME --steps 1_000_000          (extend its budget)
pgcli resume NAME --max-seconds 2h           (more time, if that ended it)
pgcli resume NAME --member 3 --steps 500_000 (one member, as a separate run)"""

MoreSteps = Annotated[
    int | None,
    option(
        "--steps N",
        "new budget, counted from the start of the run",
        parser=options.whole_number(1, STEPS.value),
    ),
]
UntilReturn = Annotated[
    float | None, option("--until-return X", "new target of the return")
]
Patience = Annotated[
    int | None,
    option(
        "--patience N",
        "new number of evaluations in a row without a new best",
        parser=options.whole_number(1, INT32.value),
    ),
]
MaxSeconds = Annotated[
    str | None,
    option(
        "--max-seconds TIME", "new limit of time, counted from the start of the run"
    ),
]
RequireExact = Annotated[
    bool, option("--require-exact", "stop unless the resume is exact (byte for byte)")
]
Member = Annotated[
    str | None,
    option(
        "--member SEED[,KEY=VALUE…]", "continue only this member, as a separate run"
    ),
]


def resume(
    terminal: Terminal,
    run: options.Run,
    steps: MoreSteps = None,
    until_return: UntilReturn = None,
    patience: Patience = None,
    max_seconds: MaxSeconds = None,
    require_exact: RequireExact = False,
    env_modules: options.EnvModules = None,
    network_modules: options.NetworkModules = None,
    member: Member = None,
    distributed: options.Distributed = None,
    coordinator: options.Coordinator = None,
    process: options.Process = None,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Continue a run from its newest checkpoint."""
    seconds = options.duration(max_seconds)
    options.use_modules(env_modules, network_modules)
    from pgcli.training.distributed.processes import from_flags

    processes = from_flags(distributed, coordinator, process)
    from pgcli.cli.terminal.live_view import follow, watch

    if processes is not None and processes.index > 0:
        follow(terminal, processes, None)
        return
    with quick_imports():
        from pgcli.training import run as training

    result = watch(
        terminal,
        lambda reporter: training.resume(
            run,
            runs_dir=runs_dir,
            steps=steps,
            until_return=until_return,
            patience=patience,
            max_seconds=seconds,
            require_exact=require_exact,
            member=member,
            reporter=reporter,
            processes=processes,
        ),
    )
    terminal.note(next_step(result))


COMMAND = Command(resume, EXAMPLES)
