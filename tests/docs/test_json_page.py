"""docs/json.md: every key that a command prints with `--json`, and its type."""

import functools
import importlib.util
import json
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.small_runs import PPO2, SMALL
from typer.main import get_command

from pgcli.cli.main import build_app, main

PAGE = Path(__file__).parents[2] / "docs" / "json.md"
SETS = " ".join(f"--set {text}" for text in (*SMALL, *PPO2))
TRAIN = f"train --env func:CartPole-v1 --no-preset {SETS} --steps 64"

CALLS = {
    # heading -> calls, in the directory of the runs `one` and `two`
    "train": [f"{TRAIN} --name three"],
    "train --dry-run": [f"{TRAIN} --dry-run", "train --dry-run --algo reinforce"],
    "resume": ["resume one --steps 64"],
    "eval": [
        "eval one --episodes 4",
        "eval two --episodes 4",
        "eval --agent random func:CartPole-v1 --episodes 4",
    ],
    "runs list": ["runs list"],
    "runs show": ["runs show one", "runs show two"],
    "runs verify": ["runs verify one"],
    "runs rm": ["runs rm four --yes"],
    "plot": ["plot one two", "plot one -o one.svg"],
    "compare": ["compare one two --threshold 3", "compare one two"],
    "report": ["report one two -o report.html"],
    "explain": ["explain"],
    "explain ALGO": ["explain ppo2", "explain reinforce"],
    "init": ["init CartPole-v1 -o init.yaml"],
    "config show": ["config show", "config show --no-preset"],
    "config check": ["config check my.yaml"],
    "config explain": ["config explain algo.clip_eps", "config explain optimizer.lr"],
    "--version": ["--version"],
    "envs list": ["envs pole"],
    "envs check": ["envs check CartPole-v1 --seconds 0.1"],
    "presets list": ["presets list"],
    "presets show": ["presets show ppo2/CartPole-v1"],
    "presets copy": ["presets copy ppo2/CartPole-v1 -o preset.yaml"],
    "presets diff": ["presets diff one"],
    "doctor": ["doctor"],
    "export --list": ["export --list"],
}
SLOW = {
    "reproduce": ["reproduce one"],
    "bench": [
        f"{TRAIN.replace('train', 'bench').replace('--steps 64', '')} --seconds 1"
    ],
    "export": ["export one --format stablehlo"],
    "ladder": [
        "ladder --env func:CartPole-v1 --algos a2c,ppo2 --seeds 2 --steps 2000 "
        "--set env.num_envs=4 --set network.hidden=[8]"
    ],
}
NEEDS = {
    "video": (("imageio_ffmpeg", "PIL", "pygame"), ["video one -o one.gif"]),
    "sweep run --dry-run": (("optuna",), ["sweep run sweep.yaml --dry-run"]),
    "sweep run": (("optuna",), ["sweep run sweep.yaml --workers 1"]),
    "sweep status": (("optuna",), ["sweep status runs/sweeps/sweep"]),
    "sweep run --print": (("optuna",), ["sweep run sweep.yaml --print"]),
    "sweep best": (("optuna",), ["sweep best runs/sweeps/sweep"]),
    "sweep plot": (("optuna",), ["sweep plot runs/sweeps/sweep -o sweep.svg"]),
    "sweep worker": (("optuna",), ["sweep worker runs/sweeps/sweep"]),
}
"""Those of optional packages: the packages, and the calls."""

WITHOUT_TABLE = {"config schema"}
FAILURES = {
    # heading -> a call that fails with the keys of the heading in addition to `error`
    "eval": "eval one --episodes 4 --min-return 1e6",
    "runs verify": "runs verify damaged",
    "config check": "config check my.yaml wrong.yaml",
}
SWEEP = """
config:
  algo.name: ppo2
  env.id: func:CartPole-v1
  steps: 64
{settings}
sampler: grid
space:
  optimizer.lr: [1e-3, 1e-2]
"""


class Key(NamedTuple):
    """A row of a table."""

    type: str
    optional: bool


Table = dict[str, Key]


@functools.cache
def tables() -> dict[str, Table]:
    """The tables of the page by each name in their heading."""
    found: dict[str, Table] = {}
    for part in re.split(r"^##+ ", PAGE.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        heading, _, text = part.partition("\n")
        rows: Table = {}
        for keys, kind in re.findall(r"^\| ([`…][^|]*) \| ([^|]*) \| ", text, re.M):
            plain = kind.removesuffix(", optional")
            for key in re.findall(r"`([^`]+)`", keys) or ["…"]:
                rows[key] = Key(plain, plain != kind)
        for name in re.findall(r"`([^`]+)`", heading):
            found[name] = rows
    return found


def expanded(rows: Table) -> Table:
    """A table with the keys of another in place of `…`."""
    if "…" not in rows:
        return rows
    rest = {key: row for key, row in rows.items() if key != "…"}
    return tables()[rows["…"].type] | rest


def faults(value: Any, rows: Table, where: str) -> Iterator[str]:
    """Differences between an object and its table."""
    rows = expanded(rows)
    for key, row in rows.items():
        if key not in value and not row.optional:
            yield f"{where}: no {key}"
    for key, inner in value.items():
        row = rows.get("KEY" if "." in key and "KEY" in rows else key)
        if row is None:
            yield f"{where}: {key} is not in the page"
        else:
            yield from type_faults(inner, row.type, f"{where}.{key}")


def type_faults(value: Any, kind: str, where: str) -> Iterator[str]:
    """Differences between a value and its type; `a or b` allows both."""
    ways = [list(one_type(value, each, where)) for each in kind.split(" or ")]
    if all(ways):
        yield from ways[0]


def one_type(value: Any, kind: str, where: str) -> Iterator[str]:
    plain = {
        "text": str,
        "boolean": bool,
        "mapping": dict,
        "null": type(None),
        "integer": int,
        "number": int | float,
    }
    if kind.startswith("list of "):
        if not isinstance(value, list):
            yield f"{where}: {value!r} is no list"
            return
        for index, item in enumerate(value):
            yield from one_type(
                item, kind.removeprefix("list of "), f"{where}[{index}]"
            )
    elif kind in plain:
        right = isinstance(value, plain[kind])
        if not right or (isinstance(value, bool) and kind != "boolean"):
            yield f"{where}: {value!r} is no {kind}"
    elif not isinstance(value, dict):
        yield f"{where}: {value!r} is no {kind}"
    else:
        yield from faults(value, tables()[kind], where)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with runs of one and of four members, and files."""
    path = tmp_path_factory.mktemp("json")
    here = os.getcwd()
    os.chdir(path)
    try:
        assert main(shlex.split(f"{TRAIN} --name one -q")) == 0
        members = "--name two --seeds 2 --grid optimizer.lr=1e-3,1e-2 -q"
        assert main(shlex.split(f"{TRAIN} {members}")) == 0
    finally:
        os.chdir(here)
    (path / "my.yaml").write_text("seed: 3\n")
    (path / "wrong.yaml").write_text("sead: 3\n")
    settings = (f"  {text.replace('=', ': ', 1)}" for text in (*SMALL, *PPO2))
    (path / "sweep.yaml").write_text(SWEEP.format(settings="\n".join(settings)))
    for name in ("four", "damaged"):
        copy = path / "runs" / name
        copy.mkdir()
        for file in (path / "runs" / "one").rglob("*"):
            target = copy / file.relative_to(path / "runs" / "one")
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.is_file():
                target.write_bytes(file.read_bytes())
    for file in (path / "runs" / "damaged" / "checkpoints").rglob("*.safetensors"):
        file.write_bytes(b"\0" * file.stat().st_size)
    return path


Answer = Callable[[str], tuple[int, dict[str, Any]]]


@pytest.fixture
def answer(
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Answer:
    """(exit code, object on stdout) of a command with `--json`."""
    monkeypatch.chdir(directory)

    def call(line: str) -> tuple[int, dict[str, Any]]:
        capfd.readouterr()
        code = main([*shlex.split(line), "--json"])
        out = capfd.readouterr().out
        assert out.count("\n") == 1
        value = json.loads(out)
        assert isinstance(value, dict)
        return code, value

    return call


def check(heading: str, calls: list[str], answer: Answer) -> None:
    for line in calls:
        code, value = answer(line)
        assert code == 0, value
        assert list(faults(value, tables()[heading], line)) == []


@pytest.mark.parametrize("heading", CALLS)
def test_command_prints_the_documented_keys(heading: str, answer: Answer) -> None:
    check(heading, CALLS[heading], answer)


@pytest.mark.slow
@pytest.mark.parametrize("heading", SLOW)
def test_slow_command_prints_the_documented_keys(heading: str, answer: Answer) -> None:
    check(heading, SLOW[heading], answer)


@pytest.mark.slow
@pytest.mark.parametrize("heading", NEEDS)
def test_command_of_an_extra_prints_the_documented_keys(
    heading: str, answer: Answer
) -> None:
    packages, calls = NEEDS[heading]
    for package in packages:
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    if calls[0].split()[2] == "runs/sweeps/sweep":  # at once if it has ended
        answer("sweep run sweep.yaml --workers 1")
    check(heading, calls, answer)


@pytest.mark.parametrize("heading", FAILURES)
def test_failure_keeps_the_documented_keys(heading: str, answer: Answer) -> None:
    code, value = answer(FAILURES[heading])
    assert code != 0
    rows = {**tables()[heading], **tables()["failure"]}
    assert list(faults(value, rows, heading)) == []


def leaves() -> list[str]:
    tree: Any = get_command(build_app())
    return [
        name if inner is None else f"{name} {inner}"
        for name, command in tree.commands.items()
        for inner in getattr(command, "commands", {None: None})
    ]


@pytest.mark.parametrize("command", leaves())
def test_every_command_is_in_the_page_and_describes_errors(
    command: str, answer: Answer
) -> None:
    headings = {heading.split(" --")[0] for heading in tables()}
    assert command in headings | {"explain"}
    assert command in CALLS or command in {**SLOW, **NEEDS} or command in WITHOUT_TABLE
    code, value = answer(f"{command} --no-such-option")
    assert code == value["error"]["exit_code"] == 2
    assert list(faults(value, tables()["failure"], command)) == []
    assert value["ok"] is False


def test_several_mistakes_are_listed(answer: Answer) -> None:
    _, value = answer("train --seed x --set optimizer.lr=-1")
    assert list(faults(value, tables()["failure"], "train")) == []
    assert len(value["error"]["errors"]) == 2


def test_check_sees_missing_new_and_wrong_keys() -> None:
    rows = {"a": Key("integer", False), "b": Key("list of text or null", True)}
    assert list(faults({"a": 1}, rows, "x")) == []
    assert list(faults({"a": 1, "b": None}, rows, "x")) == []
    assert list(faults({"b": ["c"]}, rows, "x")) == ["x: no a"]
    assert list(faults({"a": True}, rows, "x")) == ["x.a: True is no integer"]
    assert list(faults({"a": 1, "b": [2]}, rows, "x")) == ["x.b[0]: 2 is no text"]
    assert list(faults({"a": 1, "c": 2}, rows, "x")) == ["x: c is not in the page"]
