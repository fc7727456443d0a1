"""Command lines in the words of other libraries: read as meant, or refused.

An option is read as ours only if its value has the same meaning here.
"""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pgcli.cli.foreign_words import EVAL_REMEDIES, OPTIONS, REMEDIES
from pgcli.config.fields import all_fields, known_name
from pgcli.config.other_names import OTHER_NAMES, SIZES
from pgcli.config.schema import DEVICE_MODULES
from pgcli.config.source import presets
from pgcli.envs.older_ids import ATARI_GAMES
from pgcli.errors import UsageError

NOTES = "pgcli.notes"
"""Key of a context's `meta`: what was read as something else, to be printed later."""


def read(
    words: Sequence[str], known: Mapping[str, bool], where: str, arguments: bool
) -> tuple[list[str], list[str]]:
    """(words in our options, notes on what was changed).

    `known` are the options of the command and whether they take a value, `where` is the
    command, for errors. Raises a UsageError for an option whose remedy is known.
    """
    ours: list[str] = []
    notes: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if word == "--":
            return [*ours, word, *rest], notes
        if name in known:
            ours.append(word)
            if known[name] and not equals and rest:
                ours.append(rest.pop(0))
            if name == "--set" and "=" not in ours[-1] and _is_value(rest):
                raise UsageError(
                    "`--set` needs a path and a value",
                    where=where,
                    help=f"--set {ours[-1]}={rest[0]}",
                )
            continue
        if word.startswith("-"):
            given, new = _option(word, rest, known, where)
        else:
            given, new = word, [] if arguments else _argument(word, words, known)
        ours += new or [word]
        if new and new[0].replace("-", "_") != name.replace("-", "_").lower():
            notes.append(f"`{given}` is read as `{' '.join(new)}`")
    return ours, notes


def trains(word: str) -> bool:
    """Whether a word can only mean something to train: an algorithm, an environment."""
    return known_name(word) is not None or is_env(word) or _is_file(word)


def is_env(word: str) -> bool:
    """Whether a word looks like the id of an environment."""
    versioned = re.fullmatch(r"[A-Za-z][\w./:-]*-[vV]\d+", word) is not None
    stems = {path.stem.rpartition("-v")[0] for path in presets.available()}
    return (
        versioned
        or word.partition(":")[0] in {*DEVICE_MODULES, "envpool"}
        or word in {*stems, *ATARI_GAMES} - {""}
    )


def key_of(name: str) -> str | None:
    """The key of a name in another library, of its last part, or of its whole path."""
    plain = name.replace("-", "_")
    keys = all_fields()
    if plain in keys:
        return plain
    if plain in OTHER_NAMES and plain not in SIZES:
        return OTHER_NAMES[plain]
    same = [path for path in keys if path.rpartition(".")[2] == plain]
    return same[0] if len(same) == 1 else None


def _option(
    word: str, rest: list[str], known: Mapping[str, bool], where: str
) -> tuple[str, list[str]]:
    """(what was written, our option), taken from `rest` if its value follows."""
    name, equals, value = word.partition("=")
    plain = name if name[:2] != "--" else f"--{name[2:].replace('_', '-').lower()}"
    ours = _equivalent(plain, known)
    if ours is None:
        remedy = _remedies(known).get(plain)
        if remedy is not None:
            raise _unknown(name, where, remedy)
        return word, []
    if not known.get(ours, True):
        return word, [ours]
    # the value
    if not equals and _is_value(rest):
        value = rest.pop(0)
        word = f"{name} {value}"
    elif not equals and _is_switch(ours.removeprefix("--set ")[:-1]):
        value = "true"
    elif not equals:
        raise _unknown(name, where, f"{ours}{'' if '=' in ours else ' '}VALUE")
    if ours in known:
        return word, [ours, value]
    return word, ["--set", f"{ours.removeprefix('--set ')}{value}"]


def _equivalent(plain: str, known: Mapping[str, bool]) -> str | None:
    """Our option for one of another library, or `--set KEY=`; None without any."""
    for ours in (plain, OPTIONS.get(plain, "")):
        if ours in known:
            return ours
    if "--set" not in known or plain in _remedies(known) or plain[:2] != "--":
        return None
    key = key_of(plain[2:])
    if key is None or (_evaluates(known) and not key.startswith("env.")):
        return None
    flag = f"--{key.rpartition('.')[2].replace('_', '-')}"
    return flag if flag in known else f"--set {key}="


def _evaluates(known: Mapping[str, bool]) -> bool:
    """Whether a command plays an agent: of the keys it takes those of `env` only."""
    return "--best" in known


def _remedies(known: Mapping[str, bool]) -> Mapping[str, str]:
    """The remedies that apply to a command with these options."""
    if _evaluates(known):
        return EVAL_REMEDIES
    return REMEDIES if "--set" in known else {}


def _argument(word: str, words: Sequence[str], known: Mapping[str, bool]) -> list[str]:
    """The option that a word behind `train` stands for, or nothing."""

    def free(option: str) -> bool:
        return option in known and option not in words

    key, equals, value = word.partition("=")
    if equals and "--set" in known and (path := key_of(key)):
        return ["--set", f"{path}={value}"]
    if free("--algo") and (name := known_name(word)):
        return ["--algo", name]
    if _is_file(word) and "--config" in known:
        return ["--config", word]
    return ["--env", word] if free("--env") and is_env(word) else []


def _is_file(word: str) -> bool:
    return word.endswith((".yaml", ".yml"))


def _is_switch(key: str) -> bool:
    """Whether a key is true or false."""
    field = all_fields().get(key)
    return field is not None and field.kind.base is bool


def _is_value(rest: Sequence[str]) -> bool:
    return bool(rest) and re.match(r"-\D", rest[0]) is None


def _unknown(name: str, where: str, remedy: str) -> UsageError:
    return UsageError(f"unknown option `{name}`", where=where, help=remedy)


def options_of(command: Any, ctx: Any) -> dict[str, bool]:
    """Options of a command -> whether they take a value."""
    return {
        name: not param.is_flag
        for param in command.get_params(ctx)
        if param.param_type_name == "option"
        for name in param.opts
    }


def displaced(
    words: Sequence[str], own: Mapping[str, bool], commands: Mapping[str, Any], ctx: Any
) -> list[str]:
    """Words of a group in which options of a command stand behind the command.

    Raises a UsageError if they are options of a command, and none is named.
    """
    kept: list[str] = []
    moved: list[str] = []
    rest = list(words)
    while rest and rest[0].startswith("-"):
        word, equals, _ = rest[0].partition("=")
        if word in own:
            kept.append(rest.pop(0))
            continue
        takers = dict(having(word, commands, ctx))
        if not takers:
            return list(words)
        moved.append(rest.pop(0))
        if any(takers.values()) and not equals and rest:
            moved.append(rest.pop(0))
        if not rest:
            command = next(iter(takers))
            raise UsageError(
                f"`{word}` is an option of `{command}`",
                where=ctx.command_path,
                help=shlex.join([ctx.command_path, command, *words]),
            )
    return [*kept, *rest[:1], *moved, *rest[1:]]


def having(
    option: str, commands: Mapping[str, Any], ctx: Any
) -> Iterator[tuple[str, bool]]:
    """(command, whether the option takes a value) of the commands with an option."""
    for name, command in commands.items():
        own = options_of(command, ctx)
        if option in own:
            yield name, own[option]
        for inner, takes in having(option, getattr(command, "commands", {}), ctx):
            yield f"{name} {inner}", takes
