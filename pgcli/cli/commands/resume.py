"""`pgcli resume`."""

from typing import Annotated

from pgcli.cli import options
from pgcli.cli.command import Command
from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.formatting import next_step
from pgcli.config.bounds import STEPS
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli resume runs/NAME
pgcli resume NAME --steps 1_000_000          (extend its budget)
pgcli resume NAME --member 3 --steps 500_000 (one member, as a separate run)"""

MoreSteps = Annotated[
    int | None,
    options.option(
        "--steps N",
        "new budget, counted from the start of the run",
        parser=options.whole_number(1, STEPS.value),
    ),
]
RequireExact = Annotated[
    bool,
    options.option(
        "--require-exact", "stop unless the resume is exact (byte for byte)"
    ),
]
Member = Annotated[
    str | None,
    options.option(
        "--member SEED[,KEY=VALUE…]", "continue only this member, as a separate run"
    ),
]


def resume(
    terminal: Terminal,
    run: options.Run,
    steps: MoreSteps = None,
    require_exact: RequireExact = False,
    env_modules: options.EnvModules = None,
    member: Member = None,
    runs_dir: options.RunsDir = RUNS_DIR,
) -> None:
    """Continue a run from its newest checkpoint."""
    options.use_modules(env_modules)
    from pgcli.cli.terminal.live_view import watch
    from pgcli.training import run as training

    result = watch(
        terminal,
        lambda reporter: training.resume(
            run,
            runs_dir=runs_dir,
            steps=steps,
            require_exact=require_exact,
            member=member,
            reporter=reporter,
        ),
    )
    terminal.note(next_step(result))


COMMAND = Command(resume, EXAMPLES)
