"""`pgcli envs`."""

from typing import Annotated

import typer

from pgcli.cli.ui import Terminal, table

EXAMPLES = """\
pgcli envs
pgcli envs pole"""

Filter = Annotated[
    str | None, typer.Argument(metavar="[FILTER]", help="part of an environment's id")
]


def envs(terminal: Terminal, filter: Filter = None) -> None:
    """List the environments that can be trained on."""
    from pgcli.envs.registry import list_envs

    rows = [row._asdict() for row in list_envs(filter or "")]
    text = table(
        [
            (
                str(row["id"]),
                str(row["backend"]),
                "yes"
                if row["installed"]
                else f"pip install 'pgcli-jax[{row['extra']}]'",
            )
            for row in rows
        ],
        header=("ID", "BACKEND", "INSTALLED"),
    )
    terminal.answer(text, {"ok": True, "envs": rows})
