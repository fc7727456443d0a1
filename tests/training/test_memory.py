"""Memory of a run on the device, started as by a user."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

NUM_ENVS, NUM_STEPS, ITERATIONS = 2048, 128, 3
GIB = 2**30


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["func:CartPole-v1", "gymnax:CartPole-v1"])
def test_large_batch_stays_within_two_gib(
    env_id: str, user_environ: Mapping[str, str], tmp_path: Path
) -> None:
    if env_id.startswith("gymnax:"):
        pytest.importorskip("gymnax")
    command = [
        *(sys.executable, "-m", "pgcli", "train", "--algo", "ppo2", "--env", env_id),
        *("--no-preset", "--steps", str(NUM_ENVS * NUM_STEPS * ITERATIONS)),
        *("--set", f"env.num_envs={NUM_ENVS}"),
        *("--set", f"rollout.num_steps={NUM_STEPS}"),
        *("--set", "algo.num_epochs=4", "--set", "algo.num_minibatches=4"),
        *("--runs-dir", str(tmp_path), "--quiet"),
    ]
    child = subprocess.Popen(command, env=dict(user_environ), cwd=tmp_path)
    # of this child only: RUSAGE_CHILDREN is the largest of all earlier children
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    kib = 1 if sys.platform == "darwin" else 1024
    assert usage.ru_maxrss * kib < 2 * GIB
