"""`pgcli runs list`: conditions, order, and columns of what differs."""

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgcli.cli.commands import runs_list
from pgcli.config.load import to_yaml
from pgcli.storage import json_files
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.configure import configure

Run = Callable[..., Any]
RUNS = {
    # name: (algorithm, environment, learning rate, seed, return)
    "a": ("ppo2", "CartPole-v1", 1e-3, 0, 475.0),
    "b": ("ppo2", "CartPole-v1", 1e-4, 1, 90.5),
    "c": ("a2c", "func:CartPole-v1", 1e-3, 0, None),
    "d": ("a2c", "Pendulum-v1", 1e-2, 0, -200.0),
}


@pytest.fixture
def listed(run: Run) -> Run:
    """Runs `pgcli runs list` over the four runs, created an hour after each other."""
    for hour, (name, (algo, env, lr, seed, score)) in enumerate(RUNS.items()):
        values = {"optimizer.lr": lr, "seed": seed, "network.hidden": [8, 8]}
        config = configure(algo=algo, env=env, preset=False, **values).config
        path = Path("runs") / name
        made = RunDirectory.create(path.parent, name, algo, env)
        made.write_config(to_yaml(config))
        created = f"2026-01-01T0{hour}:00:00+00:00"
        meta = made.read_meta() | {"seed": seed, "created": created}
        json_files.write_object(made.meta_json, meta)
        if score is not None:
            steps = {"used": 1000 * (hour + 1)}
            result = {"stopped": "budget", "eval": {"return_mean": score}}
            made.write_result(result | {"steps": steps})

    def call(*words: str) -> Any:
        return run("runs", "list", *words)

    return call


def names(outcome: Any) -> str:
    assert outcome.code == 0
    return "".join(row["name"] for row in json.loads(outcome.out)["runs"])


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", "abcd"),
        ("--env cartpole", "abc"),
        ("--env func:", "c"),
        ("--algo A2C", "cd"),
        ("--status stopped", "c"),
        ("--where optimizer.lr=1e-3", "ac"),
        ("--where lr=.001 --where seed=0 --env cart", "ac"),
        ("--where network.hidden=[8,8] --algo ppo2", "ab"),
        ("--where max_episode_steps=null", "abcd"),
        ("--where optimizer.lr=fast", ""),
        ("--sort name", "abcd"),
        ("--sort -name", "dcba"),
        ("--sort age", "dcba"),
        ("--sort return", "dbac"),  # without a return last, in both orders
        ("--sort -return", "abdc"),
        ("--sort optimizer.lr", "bacd"),
        ("--sort -steps", "dbac"),
    ],
)
def test_runs_are_those_asked_for(words: str, found: str, listed: Run) -> None:
    assert names(listed(*words.split(), "--json")) == found


@pytest.mark.parametrize(
    ("words", "help"),
    [
        ("--where lrr=1", "did you mean `optimizer.lr`?"),
        ("--where lr", "--where optimizer.lr=1e-3"),
        ("--sort retrun", "did you mean `return`?"),
        ("--status done", "expected running, finished, stopped, damaged"),
        ("--algo sac", "it is off-policy"),
    ],
)
def test_wrong_condition_has_a_remedy(words: str, help: str, listed: Run) -> None:
    outcome = listed(*words.split())
    assert (outcome.code, outcome.out) == (2, "")
    assert help in outcome.err


def test_columns_are_the_keys_that_differ(listed: Run) -> None:
    answer = json.loads(listed("--algo", "ppo2", "--json").out)
    assert answer["differing"] == ["optimizer.lr"]
    assert [row["values"] for row in answer["runs"]] == [
        {"optimizer.lr": 0.001},
        {"optimizer.lr": 0.0001},
    ]
    lines = [line.split() for line in listed("--algo", "ppo2").out.splitlines()]
    at = lines[0].index("optimizer.lr")
    assert [line[at] for line in lines[1:]] == ["0.001", "0.0001"]


def test_nothing_that_fulfils_the_conditions_is_said(listed: Run) -> None:
    outcome = listed("--env", "Ant")
    assert outcome.out == ""
    assert outcome.err == "no runs of 4 fulfil the conditions in runs\n"


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
def test_table_fits_the_terminal(
    columns: int, listed: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("pgcli.cli.terminal.console.Terminal.formats", True)
    outcome = listed()
    lines = outcome.out.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[0].split()[0] == "RUN"
    assert ("columns are left out" in outcome.err) == (columns < 200)


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (7199, "1 h"),
        (1e6, "11 d"),
        (-9, "0 s"),
    ],
)
def test_age_has_one_unit(seconds: float, age: str) -> None:
    created = "2026-01-01T00:00:00+00:00"
    start = datetime.datetime.fromisoformat(created)
    assert runs_list._age(created, start + datetime.timedelta(seconds=seconds)) == age
    assert runs_list._age(None, start) == runs_list._age("x", start) == "–"
