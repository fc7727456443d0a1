"""What `doctor` finds, on machines that lack something."""

import importlib.metadata
from pathlib import Path

import pytest

from pgcli.report import doctor


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
    warnings = doctor.examine(blocked / "runs")["warnings"]
    assert [text.rpartition(": ")[2] for text in warnings] == [
        "set PGCLI_CACHE to a directory that can",
        "choose another --runs-dir",
    ]
