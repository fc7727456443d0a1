"""`pgcli presets`: list, show, copy, diff."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgcli.cli.main import main
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.load import resolve, to_yaml
from pgcli.config.source import families, preset_list, presets
from pgcli.storage.run_directory import RunDirectory

RESULTS = Path(__file__).parents[3] / "docs" / "results.md"

Answer = Callable[..., dict[str, Any]]


@pytest.fixture
def answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Answer:
    monkeypatch.chdir(tmp_path)

    def call(*words: str, code: int = 0) -> dict[str, Any]:
        assert main(["presets", *words, "--json"]) == code
        answer: dict[str, Any] = json.loads(capsys.readouterr().out)
        return answer

    return call


def test_list_has_every_preset_and_filters_by_family(answer: Answer) -> None:
    rows = answer()["presets"]
    assert [row["name"] for row in rows] == [*map(presets.name_of, presets.available())]
    assert {row["family"] for row in answer("mujoco")["presets"]} == {"MuJoCo"}
    assert "trpo/Hopper-v5" in {row["name"] for row in answer("mujoco")["presets"]}
    assert "no preset contains `Foo`" in answer("Foo", code=2)["error"]["message"]


def test_measured_returns_are_those_of_the_page() -> None:
    """`| ppo2, CartPole-v1, 100k, 10 | … | 500.0 [500.0, 500.0] | …`."""
    page = {
        (algo, env, float(steps) * {"k": 1e3, "M": 1e6}[unit], int(seeds)): values
        for algo, env, steps, unit, seeds, values in re.findall(
            r"^\| ([\w-]+), (\S+), (\d+)([kM]), (\d+) \| [^|]* \| ([−\d.]+ \[.*?\]) \|",
            RESULTS.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
    }
    measured = [row for row in preset_list.rows() if row.seeds is not None]
    assert len(measured) > 25
    for row in measured:
        text = page[row.algo, row.env, row.steps, row.seeds]  # type: ignore[index]
        numbers = re.findall(r"[-\d.]+", text.replace("−", "-"))
        assert [float(x) for x in numbers] == [row.return_mean, *(row.return_ci or ())]


@pytest.mark.parametrize("algo", ALGORITHM_CONFIGS)
@pytest.mark.parametrize("env_id", ["ALE/Qbert-v5", "Acrobot-v1", "brax:ant"])
def test_copy_of_a_familys_preset_trains_what_the_pair_does(
    answer: Answer, tmp_path: Path, algo: str, env_id: str
) -> None:
    copied = answer("copy", f"{algo}/{env_id}", "-o", "my.yaml")
    assert copied["preset"].startswith(families.FOLDER)
    flags = {"algo.name": (algo, "--algo"), "env.id": (env_id, "--env")}
    ours = resolve(file=tmp_path / "my.yaml", flags={}, sets=[]).config
    assert ours == resolve(file=None, flags=flags, sets=[]).config


def test_copy_keeps_comments_and_replaces_only_if_asked(
    answer: Answer, tmp_path: Path
) -> None:
    assert answer("copy", "ppo/CartPole-v1")["file"] == "CartPole-v1.yaml"
    path = tmp_path / "CartPole-v1.yaml"
    text = path.read_text(encoding="utf-8")
    assert text == answer("show", "ppo2/CartPole-v1")["text"]
    assert "# " in text
    path.write_text("mine", encoding="utf-8")
    error = answer("copy", "ppo/CartPole-v1", code=2)["error"]
    assert error["message"] == "CartPole-v1.yaml exists already"
    assert path.read_text(encoding="utf-8") == "mine"
    answer("copy", "ppo/CartPole-v1", "--overwrite")
    assert path.read_text(encoding="utf-8") == text
    error = answer("copy", "ppo2/CartPole-v1", "-o", "nowhere/x.yaml", code=2)["error"]
    assert "cannot be written" in error["message"]


def test_unknown_preset_is_a_usage_error_with_a_remedy(answer: Answer) -> None:
    help = answer("show", "ppo2/CartPol-v1", code=2)["error"]["help"]
    assert help == "did you mean `ppo2/CartPole-v1`?"
    help = answer("show", "ALE/Qbert-v5", code=2)["error"]["help"]
    assert help == "did you mean `ppo2/ALE/Qbert-v5`?"
    help = answer("show", "ppo2/Foo-v1", code=2)["error"]["help"]
    assert help == "`pgcli presets` lists them"


def stored_run(
    tmp_path: Path, name: str, env_id: str, preset: str | None, **flags: Any
) -> None:
    """A run directory with a configuration that changes some keys of a preset."""
    flags = {key.replace("__", "."): (value, key) for key, value in flags.items()}
    found = resolve(file=None, flags={"env.id": (env_id, "--env"), **flags}, sets=[])
    run = RunDirectory.create(tmp_path / "runs", name, "ppo2", env_id)
    run.write_config(to_yaml(found.config))
    run.write_meta({"preset": preset})


def test_diff_has_the_changed_keys_without_those_that_follow(
    answer: Answer, tmp_path: Path
) -> None:
    stored_run(tmp_path, "same", "CartPole-v1", "ppo2/CartPole-v1")
    assert answer("diff", "same")["differences"] == []

    changes = {"steps": 5000, "optimizer__lr": 0.01, "eval__every": 1000}
    stored_run(tmp_path, "other", "CartPole-v1", "ppo2/CartPole-v1", **changes)
    found = answer("diff", "other")
    assert found["preset"] == "ppo2/CartPole-v1"
    assert [(row["key"], row["run"]) for row in found["differences"]] == [
        ("optimizer.lr", "0.01"),
        ("eval.every", "1000"),  # derived would be 500, as checkpoint.every is
        ("steps", "5000"),
    ]


def test_diff_without_a_recorded_preset_takes_the_one_there_is(
    answer: Answer, tmp_path: Path
) -> None:
    stored_run(tmp_path, "old", "Acrobot-v1", None, seed=4)
    found = answer("diff", "old")
    assert (found["preset"], found["started_from"]) == ("families/classic", None)
    assert [row["key"] for row in found["differences"]] == ["seed"]
    stored_run(tmp_path, "own", "MyEnv-v0", "ppo2/Gone-v0", steps=10)
    found = answer("diff", "own")
    assert (found["preset"], found["started_from"]) == (None, "ppo2/Gone-v0")
    assert [row["key"] for row in found["differences"]] == ["steps"]
