"""A sweep whose workers, parent or machine are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import PPO2, SMALL

pytest.importorskip("optuna")
pytestmark = pytest.mark.slow

LIMIT = 900
TRIALS, KILLS = 24, 10
LONG = [text.replace("steps=5", "steps=100") for text in SMALL if "reward" not in text]
SETS = "\n".join(f"  {text.replace('=', ': ', 1)}" for text in (*LONG, *PPO2))
TEXT = f"""\
config:
  env.id: func:CartPole-v1
  steps: 3200
  seeds: 2
{SETS}
sampler: random
trials: {TRIALS}
space:
  optimizer.lr: {{log_uniform: [1e-4, 1e-2]}}
  algo.gae_lambda: {{uniform: [0.8, 1.0]}}
"""


def start(
    folder: Path, environ: Mapping[str, str], *options: str
) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pgcli", "sweep", "my.yaml", "--out", "sweep"]
    return subprocess.Popen(
        [*command, "--workers", "2", "-q", "--json", *options],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(folder: Path, environ: Mapping[str, str]) -> dict[str, Any]:
    process = start(folder, environ)
    out, err = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, err
    answer: dict[str, Any] = json.loads(out)
    return answer


def workers(parent: int) -> list[int]:
    listed = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(pid) for pid in listed]


def prepare(folder: Path) -> Path:
    folder.mkdir()
    (folder / "my.yaml").write_text(TEXT)
    return folder


def logs(folder: Path) -> dict[str, bytes]:
    """Everything that seed and configuration determine."""
    return {
        f"{path.parent.name}/{path.name}": path.read_bytes()
        for name in ("metrics.jsonl", "eval.jsonl", "config.yaml")
        for path in sorted((folder / "sweep" / "runs").glob(f"trial-*/{name}"))
    }


def scores(answer: Mapping[str, Any]) -> list[Any]:
    keys = ("trial", "state", "values", "score", "ci", "scores")
    return [[row[key] for key in keys] for row in answer["trials"]]


def checkpoints(folder: Path) -> set[Path]:
    return set((folder / "sweep" / "runs").glob("trial-*/checkpoints/0*"))


def finished(folder: Path) -> dict[Path, int]:
    paths = (folder / "sweep" / "runs").glob("trial-*/result.json")
    return {path: path.stat().st_mtime_ns for path in paths}


@pytest.mark.timeout(3 * LIMIT)
def test_killed_sweep_has_the_results_of_an_undisturbed_one(
    tmp_path: Path, user_environ: Mapping[str, str]
) -> None:
    environ = {**user_environ, "PGCLI_CACHE": os.environ["PGCLI_CACHE"]}
    calm, killed = prepare(tmp_path / "calm"), prepare(tmp_path / "killed")
    began = time.monotonic()
    wanted = finish(calm, environ)
    span = time.monotonic() - began

    generator = random.Random(0)
    done: dict[Path, int] = {}
    for kill in range(KILLS):
        process = start(killed, environ)
        # spread over the sweep, once a worker has saved something
        before = checkpoints(killed)
        while checkpoints(killed) <= before and process.poll() is None:
            time.sleep(0.05)
        time.sleep(generator.uniform(0.0, 0.8) * span / KILLS)
        victims = workers(process.pid) if process.poll() is None else []
        if kill % 2 and victims:
            os.kill(generator.choice(victims), signal.SIGKILL)
            time.sleep(generator.uniform(0.0, 2.0))
        # the parent, half of the times with all workers at once
        for pid in [*(victims if kill % 3 else []), process.pid]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.communicate(timeout=LIMIT)
        # nothing that had ended is trained again
        now = finished(killed)
        assert done.items() <= now.items()
        done = now
        print(f"kill {kill}: {len(done)} of {TRIALS} trials have ended")  # noqa: T201

    answer = finish(killed, environ)
    assert done.items() <= finished(killed).items()
    assert answer["counts"]["complete"] == TRIALS
    assert scores(answer) == scores(wanted)
    assert logs(killed) == logs(calm)
    assert len(logs(calm)) == 3 * TRIALS


@pytest.mark.timeout(2 * LIMIT)
def test_lost_node_of_a_ray_cluster_changes_no_result(
    tmp_path: Path, user_environ: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    environ = {**user_environ, "PGCLI_CACHE": os.environ["PGCLI_CACHE"]}
    calm, lost = prepare(tmp_path / "calm"), prepare(tmp_path / "lost")
    wanted = finish(calm, environ)

    for name in os.environ.keys() - environ.keys():
        monkeypatch.delenv(name)  # nodes pass theirs on
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        process = start(
            lost, {**environ, "RAY_ADDRESS": cluster.address}, "--launcher", "ray"
        )
        while len({path.parts[-3] for path in checkpoints(lost)}) < 4:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        cluster.remove_node(second, allow_graceful=False)
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 0, err
    finally:
        cluster.shutdown()
    assert logs(lost) == logs(calm)
    assert scores(finish(lost, environ)) == scores(wanted)
