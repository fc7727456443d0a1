"""Modules given with `--env-module` or `--network-module`: the user's own code.

No other code is imported by name: stored data (a configuration, a run, a checkpoint)
cannot add modules. Other processes that make environments call `use` with `NAMED` of
the parent; networks are not needed there.
"""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from pgcli.errors import UsageError
from pgcli.suggest import did_you_mean, similar

NAMED: list[str] = []
"""The modules of environments named so far in this process, in order."""

NETWORKS: list[str] = []
"""The modules of networks, likewise."""

ENV, NETWORK = "--env-module", "--network-module"
"""The flags that name modules."""


def _named_by(flag: str) -> list[str]:
    return NETWORKS if flag == NETWORK else NAMED


class ModuleError(UsageError):
    """The error for a user module that raised while it was imported."""

    def __init__(self, name: str, error: BaseException, flag: str) -> None:
        first = str(error).strip().splitlines()[:1]
        super().__init__(
            f"importing it failed: {type(error).__name__}"
            + (f": {first[0]}" if first else ""),
            where=f"{flag} {name}",
            help="it fails in the same way in `python -c 'import "
            f"{name}'`, from this directory",
        )
        # without the frames of pgcli and importlib
        own = _theirs(error.__traceback__)
        self._own = "".join(traceback.format_exception(type(error), error, own))
        self.result = {"traceback": self._own}

    def render(self) -> str:
        """The error with the traceback of the module's own lines."""
        lines = [f"error: {self.message}", f"  {self.where}", ""]
        lines += [f"  {line}" for line in self._own.splitlines()]
        return "\n".join([*lines, "", f"  help: {self.help}"])


def use_networks(names: Sequence[str]) -> None:
    """Makes modules available to `network.torso` and `network.encoders`; see `use`."""
    use(names, NETWORK)


def use(names: Sequence[str], flag: str = ENV) -> None:
    """Makes these modules available to environment ids; they are imported on first use.

    The current directory is searched last, so that no file in it can shadow an
    installed module. Raises a UsageError if there is no such module.
    """
    if names:
        # absolute, since a module may change the directory
        sys.path[:] = [path or os.getcwd() for path in sys.path]
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
    # names are checked here; the modules themselves are not imported yet
    for name in names:
        is_name = all(part.isidentifier() for part in name.split("."))
        if not is_name or name.endswith(".py"):
            raise _bad_name(name, flag)
        if name not in sys.modules and _find(name.partition(".")[0]) is None:
            raise _not_found(name, flag)
        if name not in _named_by(flag):
            _named_by(flag).append(name)


def _find(name: str) -> object | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def named(flag: str = ENV) -> dict[str, ModuleType]:
    """The modules named so far, imported; a UsageError if one cannot be imported."""
    return {name: _imported(name, flag) for name in _named_by(flag)}


def _imported(name: str, flag: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    # a missing module, as opposed to one that fails to import another
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _not_found(name, flag) from None
        raise ModuleError(name, error, flag) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise ModuleError(name, error, flag) from None
    _check_shadowed(name, module, flag)
    return module


def _check_shadowed(name: str, module: ModuleType, flag: str) -> None:
    """Raises if an installed module hides a file of that name in this directory."""
    top = name.partition(".")[0]
    here = [path for path in (Path(f"{top}.py"), Path(top)) if path.exists()]
    file = getattr(sys.modules[top], "__file__", None)
    if here and file and Path.cwd() not in Path(file).resolve().parents:
        raise UsageError(
            f"`{name}` is {module.__file__}, not {here[0]} of this directory",
            where=f"{flag} {name}",
            help="give yours another name, or put this directory first: PYTHONPATH=.",
        )


def require(recorded: Sequence[str], where: str, flag: str = ENV) -> None:
    """Raises a UsageError unless the recorded modules of a run are named again.

    They are compared, never imported.
    """
    missing = [name for name in recorded if name not in _named_by(flag)]
    if missing:
        flags = " ".join(f"{flag} {name}" for name in missing)
        function = "use_network_modules" if flag == NETWORK else "use_env_modules"
        raise UsageError(
            f"it was trained with {flags}, and nothing that is stored imports code",
            where=where,
            help=f"if you trust it, give it again: {flags}, or in Python "
            f"pgcli.{function}({missing})",
        )


def require_all(meta: Mapping[str, Any], where: str) -> None:
    """`require` for both kinds of modules that the metadata of a run records."""
    require(meta.get("network_modules", ()), where, NETWORK)
    require(meta.get("env_modules", ()), where)


def split(env_id: str, subject: str = "") -> tuple[str | None, str]:
    """(module, name) of an id `my_pkg:MyEnv-v0`; (None, id) if there is no module.

    Raises a UsageError, beginning with `subject`, if the module is not named.
    """
    module, colon, name = env_id.rpartition(":")
    if not colon:
        return None, env_id
    if module not in NAMED:
        near = similar(module, NAMED)
        raise UsageError(
            f"{subject}`{env_id}`: the module `{module}` is not named on the command "
            "line",
            help=f"did you mean `{near[0]}:{name}`?"
            if near
            else f"if you trust it, name it: --env-module {module}",
        )
    return module, name


def _bad_name(name: str, flag: str) -> UsageError:
    # `pkg/env.py` suggests `pkg.env`
    path = Path(name)
    meant = ".".join(path.with_suffix("").parts).lstrip(".")
    is_path = name.endswith(".py") or os.sep in name
    return UsageError(
        f"`{flag} {name}`: that is not the name of a module",
        help=f"as in `import {meant}`: {flag} {meant}"
        if is_path and meant
        else f"as in `import my_pkg`: {flag} my_pkg",
    )


def _not_found(name: str, flag: str) -> UsageError:
    # modules and packages of this directory, for a suggestion
    here = [path.stem for path in Path.cwd().glob("*.py")]
    here += [path.parent.name for path in Path.cwd().glob("*/__init__.py")]
    otherwise = "it must be installed, or lie in the current directory"
    return UsageError(
        f"`{flag} {name}`: there is no such module",
        help=did_you_mean(name, here, otherwise),
    )


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame in the module on."""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name not in (__file__, importlib.__file__) and "importlib" not in name:
            return trace
        trace = trace.tb_next
    return None
