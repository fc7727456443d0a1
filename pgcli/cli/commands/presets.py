"""`pgcli presets list`, `presets show`, `presets copy`, `presets diff`."""

from pathlib import Path
from typing import Annotated

import typer

from pgcli.cli import completers, options
from pgcli.cli.command import Command, Group
from pgcli.cli.commands.envs import EnvsGroup
from pgcli.cli.options import option
from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.formatting import NOTHING, short
from pgcli.errors import UsageError
from pgcli.runs_dir import RUNS_DIR

EXAMPLES = """\
pgcli presets
pgcli presets mujoco
pgcli presets show ppo2/HalfCheetah-v5
pgcli presets copy ppo2/Ant-v5 -o ant.yaml
pgcli presets diff RUN"""

NOTES = """\
An environment without a preset of its own has that of its family, if there is
one: `show ppo2/Ant-v5` shows families/mujoco with the id of the environment."""

Filter = Annotated[
    str | None,
    typer.Argument(
        metavar="[FILTER]", help="part of an algorithm, environment or family"
    ),
]
Name = Annotated[
    str,
    typer.Argument(
        metavar="ALGO/ENV",
        help="preset, or algorithm and environment",
        autocompletion=completers.complete_preset,
    ),
]
Out = Annotated[Path | None, option("-o,--out FILE", "path of the file", "ENV.yaml")]
Overwrite = Annotated[bool, option("--overwrite", "replace the file")]


def list_some(terminal: Terminal, filter: Filter = None) -> None:
    """List the presets, with the return that was measured with them."""
    from pgcli.config.source import preset_list

    rows = preset_list.rows(filter or "")
    if not rows:
        raise UsageError(
            f"no preset contains `{filter}`",
            help="an environment without one has defaults by its spaces: pgcli config "
            "show --env ID",
        )
    cells = [
        (
            row.algo,
            row.env or f"{row.family or 'any'} ({row.name})",
            NOTHING if row.steps is None else short(row.steps),
            NOTHING
            if row.return_ci is None
            else f"{row.return_mean:g} [{row.return_ci[0]:g}, {row.return_ci[1]:g}]",
        )
        for row in rows
    ]
    header = ("ALGO", "ENVIRONMENT", "STEPS", "RETURN, 95 %")
    answer = {"ok": True, "presets": [row._asdict() for row in rows]}
    terminal.answer(table(cells, header), answer)


def show(terminal: Terminal, name: Name) -> None:
    """Show a preset with its comments."""
    from pgcli.config.source import preset_list

    found = preset_list.text_of(name)
    terminal.note(f"preset {found.name}")
    terminal.answer(found.text.rstrip("\n"), {"ok": True, **found._asdict()})


def copy(
    terminal: Terminal, name: Name, out: Out = None, overwrite: Overwrite = False
) -> None:
    """Copy a preset into a file to change, which `train -c` accepts."""
    from pgcli.config.source import preset_list, presets

    found = preset_list.text_of(name)
    path = out or Path(presets.file_name(name.partition("/")[2]))
    options.write(path, found.text, overwrite)
    env = "" if "\n  id:" in found.text else " --env ID"
    terminal.note(f"train with it: pgcli train -c {path}{env}")
    answer = {"ok": True, "preset": found.name, "file": str(path)}
    terminal.answer(f"written  {path}", answer)


def diff(
    terminal: Terminal, run: options.Run, runs_dir: options.RunsDir = RUNS_DIR
) -> None:
    """Show what a run changes in the preset of its environment."""
    from pgcli.config.load import of_run
    from pgcli.config.preset_diff import preset_differences
    from pgcli.config.source import presets
    from pgcli.storage.run_directory import RunDirectory

    # the preset that the run started from, or else the one that there is
    directory = RunDirectory.find(run, runs_dir)
    stored = of_run(directory.config_yaml)
    recorded = directory.read_meta().get("preset")
    known = recorded is not None and presets.named(recorded) is not None
    preset = recorded if known else stored.unused_preset
    if not known:
        missing = "was started without a preset"
        if recorded is not None:
            missing = (
                f"was started from the preset {recorded}, which does not exist here"
            )
        other = f"defaults of {stored.config.algo.name}"
        other = other if preset is None else f"preset {preset}"
        terminal.note(f"the run {missing}; compared with the {other}")

    rows = preset_differences(stored.config, preset)
    text = "no differences"
    if rows:
        text = table(rows, header=("KEY", "PRESET" if preset else "DEFAULT", "RUN"))
    answer = {
        "ok": True,
        "run": str(directory.path),
        "preset": preset,
        "started_from": recorded,
        "differences": [
            {"key": key, "preset": before, "run": now} for key, before, now in rows
        ],
    }
    terminal.answer(text, answer)


GROUP = Group(
    "List presets, or show, copy and compare one.",
    EXAMPLES,
    {
        "list": Command(list_some, "pgcli presets mujoco"),
        "show": Command(show, "pgcli presets show ppo2/HalfCheetah-v5", NOTES),
        "copy": Command(copy, "pgcli presets copy ppo2/Ant-v5 -o ant.yaml", NOTES),
        "diff": Command(diff, "pgcli presets diff RUN"),
    },
    EnvsGroup,
)
