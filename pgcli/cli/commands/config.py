"""`pgcli config show`, `config check`, `config explain`, `config schema`."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from pgcli.cli import completers, options
from pgcli.cli.command import Command, Group
from pgcli.cli.terminal.console import Terminal, describe_error, render_error
from pgcli.config.schema import RunConfig
from pgcli.errors import PgcliError, UsageError

EXAMPLES = """\
pgcli config show --algo ppo2 --env CartPole-v1 > my.yaml
pgcli config check my.yaml
pgcli config explain algo.clip_eps
pgcli config schema > pgcli.schema.json"""

Files = Annotated[list[Path] | None, typer.Argument(metavar="FILE", help="YAML files")]
Key = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        help="dotted path, such as algo.clip_eps",
        autocompletion=completers.complete_key,
    ),
]


def show(terminal: Terminal, flags: options.Flags) -> None:
    """Show the resulting configuration as YAML, with the origin of every value."""
    from pgcli.config.load import to_mapping, to_yaml

    def try_look(config: RunConfig) -> tuple[str | None, Mapping[str, Any]]:
        from pgcli.envs.host.env_factory import close_kept

        try:
            return options.look(config)
        except PgcliError as error:
            terminal.warn(f"no defaults by the environment's spaces: {error.message}")
            return None, {}
        finally:
            close_kept()

    resolved = options.resolve_config(terminal, flags, spaces=try_look)

    data = {
        "ok": True,
        "preset": resolved.preset,
        "spaces": resolved.spaces,
        "config": to_mapping(resolved.config),
        "origins": dict(resolved.origins),
    }
    text = to_yaml(resolved.config, resolved.origins).rstrip("\n")
    terminal.answer(text, data)


def check(terminal: Terminal, flags: options.Flags, files: Files = None) -> None:
    """Check configuration files and report all mistakes."""
    from pgcli.config.load import ConfigError, resolve

    each = [[path] for path in files or ()] + [flags["config"]] * bool(flags["config"])
    if not each:
        raise UsageError("no file to check", help="pgcli config check my.yaml")
    rows: list[dict[str, Any]] = []
    failures: list[ConfigError] = []
    for paths in each:
        name = ", ".join(map(str, paths))
        try:
            resolved = resolve(file=paths, flags={}, sets=())
            if resolved.note is not None:
                terminal.note(f"{name}: {resolved.note}")
            rows.append({"file": name, "ok": True})
        except ConfigError as error:
            failures.append(error)
            described = describe_error(error)
            rows.append({"file": name, "ok": False, "error": described})
    if not failures:
        text = "\n".join(f"ok  {row['file']}" for row in rows)
        terminal.answer(text, {"ok": True, "files": rows})
        return
    for failure in failures[:-1]:
        terminal.say(render_error(failure, terminal) + "\n")
    last = failures[-1]
    last.result = {"files": rows}
    raise last


def explain(terminal: Terminal, key: Key, flags: options.Flags) -> None:
    """Explain one key: meaning, type, bounds and default."""
    from pgcli.config.explain import describe

    explanation = describe(key, flags["algo"])
    data = {"ok": True, **dataclasses.asdict(explanation)}
    terminal.answer(str(explanation), data)


def schema(terminal: Terminal) -> None:
    """Print the JSON Schema of a configuration file, for editors."""
    from pgcli.config.explain import json_schema

    data = json_schema()
    terminal.answer(json.dumps(data, indent=2), data)


LEFT_OUT = {"seeds", "grid", "devices"}
SHOWN = [name for name in options.CONFIG_FLAGS if name not in LEFT_OUT]
GROUP = Group(
    "Show, check and explain configurations.",
    EXAMPLES,
    {
        "show": Command(show, flags=SHOWN),
        "check": Command(check, flags=["config"]),
        "explain": Command(explain, flags=["algo"]),
        "schema": Command(schema),
    },
)
