"""`pgcli envs`: the list, and a look at one environment."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pgcli.cli import options
from pgcli.cli.terminal.console import Terminal, table
from pgcli.cli.terminal.formatting import number
from pgcli.cli.terminal.help import HelpGroup
from pgcli.errors import EnvironmentFailed, UsageError
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
pgcli envs check func:MyEnv --env-module my_pkg --set env.max_episode_steps=500"""

CHECK_NOTES = """\
A Gymnasium environment goes through Gymnasium's own checker, then through random
episodes as training would see them: spaces, finite numbers, seeds, ends. One on the
device is traced, and played under jit and vmap. Exit code 3 if anything is wrong.

An environment of your own
  on the host    `gymnasium.register(id="MyEnv-v0", entry_point=…)` in a module that
                 --env-module names: --env MyEnv-v0
  on the device  a gymnasium.experimental.functional.FuncEnv, class or instance, in
                 such a module: --env func:NAME. --env-kwargs are its parameters or
                 arguments; it needs a time limit, env.max_episode_steps"""

Filter = Annotated[
    str | None, typer.Argument(metavar="[FILTER]", help="part of an environment's id")
]
EnvId = Annotated[
    str, typer.Argument(metavar="ID", help="environment, see `pgcli envs`")
]
Seconds = Annotated[
    float, typer.Option("--seconds", metavar="X", help="how long to measure its speed")
]


class EnvsGroup(HelpGroup):
    """A group in which words that name no command are those of `list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As Typer's, `list` put in front of a filter or an option of the list."""
        flags = {name for param in self.get_params(ctx) for name in param.opts}
        count = next((i for i, word in enumerate(args) if word not in flags), len(args))
        rest = args[count:]
        if rest and rest[0] not in self.commands and not self._mistyped(rest):
            args = [*args[:count], "list", *rest]
        return super().parse_args(ctx, args)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What can follow `pgcli envs`."""
        return ["[FILTER]", "|", "COMMAND", "[ARGS]..."]

    def _mistyped(self, words: list[str]) -> bool:
        """Whether the first is probably a command: a filter is followed by no word."""
        followed = len(words) > 1 and not words[1].startswith("-")
        return followed and bool(similar(words[0], self.commands))


class EnvironmentUnfit(EnvironmentFailed):
    """Something is wrong with an environment that was checked."""

    def __init__(self, message: str, where: str, result: Mapping[str, Any]) -> None:
        super().__init__(message, where=where)
        self.result = result


def list_everything(terminal: Terminal) -> None:
    """What `pgcli envs` alone does."""
    list_some(terminal)


def list_some(
    terminal: Terminal, filter: Filter = None, env_modules: options.EnvModules = None
) -> None:
    """List the environments that can be trained on."""
    options.use_modules(env_modules)
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


def check(
    terminal: Terminal,
    env: EnvId,
    env_modules: options.EnvModules = None,
    env_kwargs: options.EnvKwargs = None,
    seconds: Seconds = 1.0,
    sets: options.Sets = None,
) -> None:
    """Run an environment and say in words what is wrong with it, and how fast it is."""
    if not 0 < seconds < 3600:
        raise UsageError(f"`--seconds {seconds:g}`: expected above 0, below an hour")
    resolved = options.resolve_config(
        env=env,
        no_preset=True,
        env_modules=env_modules,
        env_kwargs=env_kwargs,
        sets=sets,
    )
    from pgcli.diagnose.env_check import check_env

    result = check_env(resolved.config, seconds)
    if result["ok"]:
        terminal.answer(_text(result), result)
        return
    if not terminal.json:
        terminal.answer(_text(result), result)
    count = sum(finding["level"] == "error" for finding in result["findings"])
    raise EnvironmentUnfit(
        f"{count} thing{'s are' if count > 1 else ' is'} wrong with it",
        f"environment {env}",
        result,
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
        cost = f"{number(speed['step_us'])} µs a step, {number(speed['reset_us'])} µs "
        rows.append(("speed", f"{cost}a reset: {rate}"))
    lines = []
    for finding in result["findings"]:
        lines.append(f"{finding['level']:9}{finding['message']}")
        if finding["help"]:
            lines.append(f"{'':9}  help: {finding['help']}")
    lines += [f"{'faster?':9}{text}" for text in result["suggestions"]]
    return "\n".join([table(rows), "", *lines])
