"""Launchers: cores of local workers, and the script of a Slurm job."""

import importlib.util
import json
import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from pgcli.cli.main import main
from pgcli.config.errors import ConfigError
from pgcli.errors import UsageError
from pgcli.sweep import directory as directories
from pgcli.sweep import plan as plans
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.launchers import ray, slurm
from pgcli.sweep.launchers.local import shares

TEXT = """\
config: {env.id: func:CartPole-v1, steps: 2000}
sampler: random
trials: 3
slurm: {partition: long, time: "4:00:00", cpus-per-task: 2}
space: {optimizer.lr: {log_uniform: [1e-4, 1e-2]}}
"""


def program(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory of programs, first on the PATH; the sweep file in the current one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text(TEXT)
    return folder


def test_cores_are_shared_equally_or_used_twice() -> None:
    assert shares([0, 1, 2, 3, 4], 2) == [{0, 1}, {2, 3}]
    assert shares([0, 1], 3) == [{0}, {1}, {0}]
    assert shares([4, 5], 1) == [{4, 5}]


def test_job_is_submitted_with_the_options_of_the_file(
    commands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    program(commands, "sbatch", 'echo "$@" > submitted; echo "42;cluster"')
    words = ["sweep", "my.yaml", "-o", "out", "--launcher", "slurm", "--json"]
    assert main([*words, "--workers", "16"]) == 0
    assert json.loads(capsys.readouterr().out)["job"] == "42"
    assert Path("submitted").read_text().split() == ["--parsable", "out/slurm.sh"]
    lines = Path("out/slurm.sh").read_text().splitlines()
    options = [line.removeprefix("#SBATCH ") for line in lines if "#SBATCH" in line]
    for wanted in (
        "--array=0-2",  # not more tasks than trials
        "--requeue",
        "--signal=TERM@120",
        "--partition=long",
        "--time=4:00:00",
        "--cpus-per-task=2",
    ):
        assert wanted in options


@pytest.mark.parametrize(("code", "requeued"), [(0, False), (143, True), (5, False)])
def test_stopped_task_is_put_back_into_the_queue(
    commands: Path, code: int, requeued: bool
) -> None:
    program(commands, "srun", f'echo "$@" > ran; exit {code}')
    program(commands, "scontrol", 'echo "$@" > requeued')
    Path("job.sh").write_text(slurm.script(SweepDirectory(Path("my sweep")), 2, {}))
    ids = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "1"}
    done = subprocess.run(["sh", "job.sh"], env={**os.environ, **ids})
    assert done.returncode == code
    assert Path("ran").read_text().rstrip().endswith("/my sweep")
    assert Path("requeued").exists() == requeued
    if requeued:
        assert Path("requeued").read_text().split() == ["requeue", "7_1"]


def test_refusals_of_slurm_have_words(
    commands: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("optuna")
    words = ["sweep", "my.yaml", "-o", "out", "--launcher", "slurm"]
    program(commands, "sbatch", "echo invalid partition >&2; exit 1")
    assert main(words) == 2
    assert "sbatch refused the job: invalid partition" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(words) == 2
    assert "not on the PATH" in capsys.readouterr().err
    assert main([*words, "--launcher", "condor"]) == 2
    assert "expected local, slurm or ray" in capsys.readouterr().err
    assert main([*words[:-1], "local", "--cpus-per-trial", "2"]) == 2
    assert "need `--launcher ray`" in capsys.readouterr().err


def test_cluster_of_ray_that_does_not_listen_is_refused_at_once(
    commands: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("optuna")
    if importlib.util.find_spec("ray") is None:
        assert main(["sweep", "my.yaml", "-o", "out", "--launcher", "ray"]) == 2
        assert "needs Ray, which is not installed" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no Ray cluster listens there"):
        ray.check_address("127.0.0.1:1")


def test_workers_of_ray_take_cores_that_are_free(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4})
    with ray.free_cores(2) as first, ray.free_cores(2) as second:
        assert (first, second) == ({0, 1}, {2, 3})
        with ray.free_cores(2) as third:
            assert third in (first, second)
    with ray.free_cores(2) as again:
        assert again == first


def test_options_of_slurm_are_checked(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(TEXT.replace("partition: long", "-p: long"))
    with pytest.raises(ConfigError, match="long option of sbatch"):
        plans.load(file)


def test_study_on_a_network_file_system_is_warned_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kinds = {"/home/me/runs/study.db": "nfs4", "/scratch/study.log": "lustre"}
    monkeypatch.setattr(
        directories, "_file_system", lambda path: kinds.get(str(path), "ext4")
    )
    warning = directories.shared_file_warning
    assert "nfs4" in str(warning("sqlite:////home/me/runs/study.db", Path("x")))
    assert "lustre" in str(warning("journal:///scratch/study.log", Path("x")))
    assert warning("postgresql://host/name", Path("x")) is None
    assert warning(None, Path("x")) is None


def test_workers_that_share_a_gpu_share_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert ray.worker_environ(0.5)["XLA_CLIENT_MEM_FRACTION"] == "0.38"
    assert "XLA_CLIENT_MEM_FRACTION" not in ray.worker_environ(1)
    for name in ray.FRACTION:  # the user's own; JAX refuses both names together
        with monkeypatch.context() as user:
            user.setenv(name, "0.1")
            passed = ray.worker_environ(0.5)
        assert [passed.get(other) for other in ray.FRACTION if other != name] == [None]
        assert passed[name] == "0.1"
