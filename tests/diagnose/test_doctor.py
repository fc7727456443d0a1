"""Reports of `doctor` on machines that lack something."""

import importlib.metadata
import tomllib
from pathlib import Path

import pytest

from pgcli import versions
from pgcli.diagnose import doctor


def test_doctor_finds_a_machine_that_can_train(tmp_path: Path) -> None:
    report = doctor.examine(tmp_path / "runs")
    assert report["ok"]
    assert report["devices"][0]["platform"] == "cpu"
    assert report["versions"]["jax"] == importlib.metadata.version("jax")
    assert report["runs"]["writable"]
    assert report["extras"]["test"] == []


def test_doctor_names_what_an_extra_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    requires = {
        "pgcli-jax": ['gymnasium[mujoco]>=1.1; extra == "mujoco"', "jax>=0.10"],
        "gymnasium": ['mujoco>=2; extra == "mujoco"', 'ale_py; extra == "atari"'],
    }
    monkeypatch.setattr(importlib.metadata, "requires", requires.get)

    def version(name: str) -> str:
        if name == "mujoco":
            raise importlib.metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert list(doctor._missing("pgcli-jax", "mujoco", set())) == ["mujoco"]


def test_doctor_warns_of_a_driver_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    warnings = doctor.examine(tmp_path)["warnings"]
    assert any("JAX sees no GPU" in text for text in warnings)


def test_doctor_warns_of_a_cache_and_runs_that_cannot_be_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(blocked / "cache"))
    monkeypatch.setattr(
        doctor, "extras", lambda: {name: [] for name in doctor._environment_extras()}
    )
    warnings = doctor.examine(blocked / "runs")["warnings"]
    assert [text.rpartition(": ")[2] for text in warnings] == [
        "set PGCLI_CACHE to a writable directory",
        "choose another --runs-dir",
    ]


def test_doctor_warns_of_an_installation_older_than_the_code(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    known = doctor._environment_extras() - {"pgx", "brax"}
    monkeypatch.setattr(doctor, "extras", lambda: {name: [] for name in known})
    (warning,) = (w for w in doctor.examine(tmp_path)["warnings"] if "older" in w)
    assert "lacks the extras brax, pgx: reinstall pgcli-jax" in warning


def test_doctor_names_versions_outside_the_tested_range(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(versions, "untested", lambda: {"jax 0.99.0": "0.10 to 0.12"})
    report = doctor.examine(tmp_path)
    assert report["untested"] == {"jax 0.99.0": "0.10 to 0.12"}
    (warning,) = (text for text in report["warnings"] if "jax 0.99.0" in text)
    assert warning.endswith("tested with: 0.10 to 0.12")


def test_every_extra_that_an_environment_needs_is_offered() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    offered = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    needed = doctor._environment_extras()
    assert needed <= offered.keys()
    assert needed >= {"gymnax", "brax", "playground", "xminigrid", "pgx"}
    assert needed >= {"mujoco", "box2d", "atari", "minigrid", "envpool"}
