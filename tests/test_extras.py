"""The command that installs an extra fits the environment that pgcli runs in."""

import importlib.metadata
import importlib.util
import json
import os
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pgcli.extras import pip_install

PYTHON = "/opt/my env/bin/python"
HERE = {"url": "file:///src/pgcli", "dir_info": {"editable": True}}


def command(
    monkeypatch: pytest.MonkeyPatch,
    *,
    pip: bool,
    found: dict[str, str],
    origin: Any = None,
    prefix: str | None = None,
) -> str:
    """`pip_install("onnx")` where `found` are programs on the PATH."""
    monkeypatch.setattr(sys, "executable", PYTHON)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name if pip else None)
    monkeypatch.setattr(shutil, "which", found.get)
    distribution = SimpleNamespace(read_text=lambda name: origin and json.dumps(origin))
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: distribution)
    if prefix is None:
        monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    else:
        monkeypatch.setenv("VIRTUAL_ENV", prefix)
        monkeypatch.setattr(sys, "prefix", prefix)
    return pip_install.__wrapped__("onnx")


@pytest.mark.parametrize(
    ("pip", "found", "prefix", "start"),
    [
        (True, {"pip": "/opt/my env/bin/pip"}, None, "pip install"),
        (True, {"pip": "/usr/bin/pip"}, None, f"'{PYTHON}' -m pip install"),
        (False, {"uv": "/bin/uv"}, None, f"uv pip install --python '{PYTHON}'"),
        (False, {"uv": "/bin/uv"}, "/opt/my env", "uv pip install"),
        (
            False,
            {},
            None,
            f"'{PYTHON}' -m ensurepip && '{PYTHON}' -m pip install",
        ),
    ],
)
def test_installer_is_that_of_this_interpreter(
    monkeypatch: pytest.MonkeyPatch,
    pip: bool,
    found: dict[str, str],
    prefix: str | None,
    start: str,
) -> None:
    text = command(monkeypatch, pip=pip, found=found, prefix=prefix)
    assert text == f"{start} 'pgcli-jax[onnx]'"


@pytest.mark.parametrize(
    ("origin", "requirement"),
    [
        (None, ["pgcli-jax[onnx]"]),
        (HERE, ["-e", "/src/pgcli[onnx]"]),
        ({"url": "file:///src/pgcli", "dir_info": {}}, ["/src/pgcli[onnx]"]),
        (
            {"url": "https://host/pgcli.git", "vcs_info": {"vcs": "git"}},
            ["pgcli-jax[onnx] @ git+https://host/pgcli.git"],
        ),
        (
            {"url": "file:///a/pgcli_jax-0.1.0-py3-none-any.whl", "archive_info": {}},
            ["pgcli-jax[onnx] @ file:///a/pgcli_jax-0.1.0-py3-none-any.whl"],
        ),
    ],
)
def test_requirement_is_where_pgcli_came_from(
    monkeypatch: pytest.MonkeyPatch, origin: Any, requirement: list[str]
) -> None:
    found = {"pip": "/opt/my env/bin/pip"}
    text = command(monkeypatch, pip=True, found=found, origin=origin)
    assert shlex.split(text) == ["pip", "install", *requirement]
    assert "'" in text  # zsh would expand the brackets


def test_requirement_is_a_dot_in_its_own_directory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    origin = {"url": f"file://{os.getcwd()}", "dir_info": {"editable": True}}
    found = {"pip": "/opt/my env/bin/pip"}
    text = command(monkeypatch, pip=True, found=found, origin=origin)
    assert text == "pip install -e '.[onnx]'"


def test_extras_in_remedies_are_those_of_the_project() -> None:
    import tomllib

    from pgcli.envs.registry import DEVICE_BACKENDS, EXTRAS
    from pgcli.export.export import FORMATS
    from pgcli.report import pictures, video
    from pgcli.storage.loggers import PACKAGES

    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    named = {extra for extra, _ in EXTRAS.values()}
    named |= {str(b.extra) for b in DEVICE_BACKENDS.values() if b.extra}
    named |= {str(f.extra) for f in FORMATS.values() if not f.installed}
    named |= {pictures.EXTRA, video.EXTRA, *PACKAGES, "cuda13", "cuda12", "tpu"}
    assert named <= project["optional-dependencies"].keys()
