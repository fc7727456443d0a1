"""The command that installs an extra into the environment that pgcli runs in."""

import functools
import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DISTRIBUTION = "pgcli-jax"


@functools.cache
def pip_install(extra: str) -> str:
    """The command that installs an extra, such as `pip install 'pgcli-jax[onnx]'`.

    It uses the installer of this interpreter: its pip, else uv. An installation from a
    directory or a URL is extended from there.
    """
    return f"{_installer()} {_requirement(extra, _origin())}"


def _installer() -> str:
    """`pip install` or `uv pip install`, for this interpreter."""
    own = Path(sys.executable).parent
    python = shlex.quote(sys.executable)
    if importlib.util.find_spec("pip") is not None:
        found = shutil.which("pip")
        on_path = found is not None and Path(found).parent == own
        return "pip install" if on_path else f"{python} -m pip install"
    uv = shutil.which("uv")
    if uv is None:
        return f"{python} -m ensurepip && {python} -m pip install"
    active = os.environ.get("VIRTUAL_ENV") == sys.prefix
    return "uv pip install" if active else f"uv pip install --python {python}"


def _origin() -> Mapping[str, Any]:
    """Where pgcli was installed from (PEP 610); empty for a package index."""
    try:
        found = importlib.metadata.distribution(DISTRIBUTION)
        origin: dict[str, Any] = json.loads(found.read_text("direct_url.json") or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return {}
    return origin


def _requirement(extra: str, origin: Mapping[str, Any]) -> str:
    """Pgcli with an extra, from where it was installed, quoted for every shell."""
    url = str(origin.get("url", ""))
    if not url:
        return f"'pgcli-jax[{extra}]'"
    if "dir_info" in origin:
        path = url.removeprefix("file://")
        path = "." if path == os.getcwd() else path
        flag = "-e " if origin["dir_info"].get("editable") else ""
        return flag + shlex.quote(f"{path}[{extra}]")
    kind = origin.get("vcs_info", {}).get("vcs")
    return shlex.quote(f"pgcli-jax[{extra}] @ {f'{kind}+' if kind else ''}{url}")
