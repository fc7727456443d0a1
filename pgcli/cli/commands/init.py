"""`pgcli init`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from pgcli.cli import completers, options
from pgcli.cli.command import Command
from pgcli.cli.commands.presets import Out, Overwrite
from pgcli.cli.terminal.console import Terminal, table

EXAMPLES = """\
pgcli init CarRacing-v3
pgcli init Acrobot-v1 --algo trpo -o my.yaml
pgcli init MyEnv-v0 --env-module my_pkg --env-kwargs size=7"""

NOTES = """\
The file starts from the preset of the environment or of its family; without one,
network, normalisation and budget follow from the spaces. The environment is made
and stepped with random actions: the file says how fast it is, and a budget that
no preset sets is what its steps allow in an hour at most."""

EnvId = Annotated[
    str,
    typer.Argument(
        metavar="ENV",
        help="environment, see `pgcli envs`",
        autocompletion=completers.complete_env,
    ),
]


def init(
    terminal: Terminal,
    env: EnvId,
    flags: options.Flags,
    out: Out = None,
    overwrite: Overwrite = False,
    seconds: options.Seconds = 1.0,
) -> None:
    """Write a commented configuration for an environment, chosen by its spaces."""
    from pgcli.config.source.presets import file_name

    path = out or Path(file_name(env))
    if path.exists() and not overwrite:
        raise options.exists_already(path)
    from pgcli.envs import registry

    resolved = options.resolve_config(
        terminal, {"env": env, **flags}, spaces=options.look
    )
    registry.check(resolved.config.env)
    terminal.note(options.source_of(resolved, flags))
    from pgcli.diagnose.init_file import draft
    from pgcli.diagnose.time_limit import time_limit

    # the environment under a time limit, then the file
    words = [*("pgcli", "train", "-c"), str(path)]
    words += [x for each in flags["env_modules"] or () for x in ("--env-module", each)]
    command = shlex.join(words)
    with time_limit(resolved.config.host.timeout, env, terminal.abandon):
        data = draft(resolved, seconds, command)
    options.write(path, data.pop("text"), overwrite)
    speed, limit = data["speed"], data["time_limit"]
    rows = [
        ("written", str(path)),
        ("observations", data["observations"]),
        ("actions", data["actions"]),
        ("time limit", "none" if limit is None else f"{limit:,} steps"),
        ("speed", f"{speed['steps_per_second']:,} steps/s"),
        ("steps", f"{data['steps']:,}"),
    ]
    terminal.answer(table(rows), {"ok": True, "file": str(path), **data})
    terminal.note(f"train with it: {command}")


COMMAND = Command(init, EXAMPLES, NOTES, ["algo", "env_modules", "env_kwargs"])
