"""`pgcli envs list`, `envs check`."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pgcli.cli import completers, options
from pgcli.cli.command import Command, Group
from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.formatting import number
from pgcli.cli.terminal.help import HelpGroup
from pgcli.errors import EnvironmentFailed
from pgcli.extras import pip_install
from pgcli.suggest import similar

EXAMPLES = """\
pgcli envs
pgcli envs pole
pgcli envs check CartPole-v1
pgcli envs check my_pkg:MyEnv-v0 --env-module my_pkg"""

LIST_EXAMPLES = """\
pgcli envs pole
pgcli envs --env-module my_pkg"""

CHECK_EXAMPLES = """\
pgcli envs check CartPole-v1
pgcli envs check my_pkg:MyEnv-v0 --env-module my_pkg --env-kwargs size=5
pgcli envs check func:MyEnv --env-module my_pkg --set env.max_episode_steps=99"""

CHECK_NOTES = """\
A Gymnasium environment is checked by Gymnasium's own checker, then by random
episodes: spaces, finite numbers, seeds, ends of episodes. A device environment
is traced, and run under jit and vmap. Exit code 3 if there is an error.

Environments of your own
  on the host    `gymnasium.register(id="MyEnv-v0", entry_point=…)` in a module
                 given by --env-module; then --env MyEnv-v0
  on the device  a gymnasium.experimental.functional.FuncEnv, class or instance,
                 in such a module; then --env func:NAME. --env-kwargs are its
                 parameters or arguments. It needs env.max_episode_steps"""

Filter = Annotated[
    str | None, typer.Argument(metavar="[FILTER]", help="part of an environment's id")
]
EnvId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="environment, see `pgcli envs`",
        autocompletion=completers.complete_env,
    ),
]


class EnvsGroup(HelpGroup):
    """A group that passes words other than a command to `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parsed arguments, with `list` inserted unless they name a command."""
        flags = {name for param in self.get_params(ctx) for name in param.opts}
        count = next((i for i, word in enumerate(args) if word not in flags), len(args))
        rest = args[count:]
        alone = (
            not rest and not ctx.resilient_parsing and not {"-h", "--help"} & {*args}
        )
        if alone or (
            rest and rest[0] not in self.commands and not self._mistyped(rest)
        ):
            args = [*args[:count], "list", *rest]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Usage pieces after `pgcli envs`."""
        return ["[FILTER]", "|", "COMMAND", "[ARGS]..."]

    def _mistyped(self, words: list[str]) -> bool:
        """Whether the first word is probably a command: no word follows a filter."""
        followed = len(words) > 1 and not words[1].startswith("-")
        return followed and bool(similar(words[0], self.commands))


def list_some(
    terminal: Terminal, filter: Filter = None, env_modules: options.EnvModules = None
) -> None:
    """List the available environments."""
    options.use_modules(env_modules)
    from pgcli.envs.registry import list_envs

    rows = [row._asdict() for row in list_envs(filter or "")]
    text = table(
        [
            (
                str(row["id"]),
                str(row["backend"]),
                "yes" if row["installed"] else pip_install(str(row["extra"])),
            )
            for row in rows
        ],
        header=("ID", "BACKEND", "INSTALLED"),
    )
    terminal.answer(text, {"ok": True, "envs": rows})


def check(
    terminal: Terminal, env: EnvId, flags: options.Flags, seconds: options.Seconds = 1.0
) -> None:
    """Run an environment, report any problems and measure its speed."""
    resolved = options.resolve_config(terminal, {"env": env, **flags}, use_preset=False)
    from pgcli.diagnose.env_check import check_env
    from pgcli.diagnose.time_limit import time_limit

    with time_limit(resolved.config.host.timeout, env, terminal.abandon):
        result = check_env(resolved.config, seconds)
    if result["ok"]:
        terminal.answer(_text(result), result)
        return
    if not terminal.json:
        terminal.answer(_text(result), result)
    count = sum(finding["level"] == "error" for finding in result["findings"])
    raise EnvironmentFailed(
        f"the check reported {count} error{'s' if count > 1 else ''}",
        where=f"environment {env}",
        result=result,
    )


def _text(result: Mapping[str, Any]) -> str:
    speed, limit = result["speed"], result["max_episode_steps"]
    rows = [
        ("environment", f"{result['env']} ({result['backend']})"),
        ("observations", result["spaces"]["obs"]),
        ("actions", result["spaces"]["action"]),
        ("time limit", "none" if limit is None else f"{limit} steps"),
    ]
    if speed is not None:
        rate = f"{speed['steps_per_second']:,} steps/s"
        step, reset = number(speed["step_us"]), number(speed["reset_us"])
        rows.append(("speed", f"{step} µs per step, {reset} µs per reset: {rate}"))
    lines = []
    for finding in result["findings"]:
        lines.append(f"{finding['level']:9}{finding['message']}")
        if finding["help"]:
            lines.append(f"{'':9}  help: {finding['help']}")
    lines += [f"{'faster?':9}{text}" for text in result["suggestions"]]
    return "\n".join([table(rows), "", *lines])


GROUP = Group(
    "List environments, or check one.",
    EXAMPLES,
    {
        "list": Command(list_some, LIST_EXAMPLES),
        "check": Command(
            check, CHECK_EXAMPLES, CHECK_NOTES, ["env_modules", "env_kwargs", "sets"]
        ),
    },
    EnvsGroup,
)
