"""Modules that the user names with `--env-module`: the only code imported by a name.

Nothing that is stored (a configuration, a run, a checkpoint) can add to them. Other
processes that make environments call `use` with `NAMED` of the parent.
"""

import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType

from pgcli.errors import UsageError
from pgcli.suggest import did_you_mean, similar

NAMED: list[str] = []
"""The modules named so far in this process, in order."""


class ModuleError(UsageError):
    """A module that the user named raised while it was imported.

    Attributes:
      result: `traceback`, the module's own part of it as text.
    """

    def __init__(self, name: str, error: BaseException) -> None:
        first = str(error).strip().splitlines()[:1]
        super().__init__(
            f"importing it failed: {type(error).__name__}"
            + (f": {first[0]}" if first else ""),
            where=f"--env-module {name}",
            help="it fails in the same way in `python -c 'import "
            f"{name}'`, from this directory",
        )
        own = _theirs(error.__traceback__)
        text = "".join(traceback.format_exception(type(error), error, own))
        self.result = {"traceback": text}

    def render(self) -> str:
        """The error with the traceback of the module's own lines."""
        lines = [f"error: {self.message}", f"  {self.where}", ""]
        lines += [f"  {line}" for line in self.result["traceback"].splitlines()]
        return "\n".join([*lines, "", f"  help: {self.help}"])


def use(names: Sequence[str]) -> None:
    """Lets environment ids reach these modules, which are imported on first use.

    The current directory is searched last, so that no file in it can take the place
    of an installed module.

    Raises:
      UsageError: a name is none of a module, or there is no such module.
    """
    if names and not {"", os.getcwd()} & set(sys.path):
        sys.path.append(os.getcwd())
    for name in names:
        is_name = all(part.isidentifier() for part in name.split("."))
        if not is_name or name.endswith(".py"):
            raise _bad_name(name)
        if name not in sys.modules and _find(name.partition(".")[0]) is None:
            raise _not_found(name)
        if name not in NAMED:
            NAMED.append(name)


def _find(name: str) -> object | None:
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def named() -> dict[str, ModuleType]:
    """The modules named so far, imported.

    Raises:
      UsageError: one cannot be imported; with its own traceback.
    """
    return {name: _imported(name) for name in NAMED}


def _imported(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise _not_found(name) from None
        raise ModuleError(name, error) from None
    except (Exception, SystemExit) as error:
        raise ModuleError(name, error) from None
    _check_shadowed(name, module)
    return module


def _check_shadowed(name: str, module: ModuleType) -> None:
    """Refuses an installed module where the user has a file of that name here."""
    top = name.partition(".")[0]
    here = [path for path in (Path(f"{top}.py"), Path(top)) if path.exists()]
    found = getattr(sys.modules[top], "__file__", None)
    if here and found and Path.cwd() not in Path(found).resolve().parents:
        raise UsageError(
            f"`{name}` is {module.__file__}, not {here[0]} of this directory",
            where=f"--env-module {name}",
            help="give yours another name, or put this directory first: PYTHONPATH=.",
        )


def require(recorded: Sequence[str], where: str) -> None:
    """Refuses to go on with a run before the modules that it had are named again.

    Args:
      recorded: what the run says of them; only compared, never imported.
      where: the run.

    Raises:
      UsageError: one is not named.
    """
    missing = [name for name in recorded if name not in NAMED]
    if missing:
        flags = " ".join(f"--env-module {name}" for name in missing)
        raise UsageError(
            f"it was trained with {flags}, and nothing that is stored imports code",
            where=where,
            help=f"if you trust it, give it again: {flags}",
        )


def split(env_id: str) -> tuple[str | None, str]:
    """(module, name) of an id `my_pkg:MyEnv-v0`; (None, id) where no module is named.

    Raises:
      UsageError: the module is not one of `--env-module`.
    """
    module, colon, name = env_id.rpartition(":")
    if not colon:
        return None, env_id
    if module not in NAMED:
        near = similar(module, NAMED)
        raise UsageError(
            f"`{env_id}`: the module `{module}` is not named on the command line",
            help=f"did you mean `{near[0]}:{name}`?"
            if near
            else f"if you trust it, name it: --env-module {module}",
        )
    return module, name


def _bad_name(name: str) -> UsageError:
    path = Path(name)
    meant = ".".join(path.with_suffix("").parts).lstrip(".")
    is_path = name.endswith(".py") or os.sep in name
    return UsageError(
        f"`--env-module {name}`: that is not the name of a module",
        help=f"as in `import {meant}`: --env-module {meant}"
        if is_path and meant
        else "as in `import my_pkg`: --env-module my_pkg",
    )


def _not_found(name: str) -> UsageError:
    here = [path.stem for path in Path.cwd().glob("*.py")]
    here += [path.parent.name for path in Path.cwd().glob("*/__init__.py")]
    otherwise = "it must be installed, or lie in the current directory"
    return UsageError(
        f"`--env-module {name}`: there is no such module",
        help=did_you_mean(name, here, otherwise),
    )


def _theirs(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first line of the module on."""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name not in (__file__, importlib.__file__) and "importlib" not in name:
            return trace
        trace = trace.tb_next
    return None
