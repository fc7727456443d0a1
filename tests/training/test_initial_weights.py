"""`--init-from`: weights and normaliser of another run, as far as they fit."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.small_runs import resolved

from pgcli.cli.main import main
from pgcli.errors import CheckpointError, UsageError
from pgcli.storage import checkpoint
from pgcli.training.run import train

SHORT = ("steps=32", "eval.every=0", "eval.final_episodes=0")


@pytest.fixture(scope="module")
def runs_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    train(resolved("func:CartPole-v1", *SHORT, seed=7), runs_dir=folder, name="source")
    return folder


def agents(run: Path) -> tuple[dict, dict]:
    """Arrays of the agent in the first and in the last checkpoint."""
    paths = checkpoint.committed(run / "checkpoints")
    first, last = (checkpoint.load(paths[i]).groups["agent"] for i in (0, -1))
    return dict(first), dict(last)


@pytest.mark.parametrize("env_id", ["func:CartPole-v1", "CartPole-v1"])
def test_run_begins_with_the_weights_of_another(runs_dir: Path, env_id: str) -> None:
    name = env_id.replace(":", "-")
    asked = resolved(env_id, *SHORT, "checkpoint.keep=5", seed=1)
    train(asked, runs_dir=runs_dir, name=name, init_from="source")
    begun, after = agents(runs_dir / name)
    theirs = agents(runs_dir / "source")[1]
    assert begun.keys() == theirs.keys()
    for key, array in theirs.items():
        np.testing.assert_array_equal(begun[key], array)
    kernel = ".params['policy']['Dense_0']['kernel']"
    assert (after[kernel] != begun[kernel]).any()
    recorded = json.loads((runs_dir / name / "meta.json").read_text())["init_from"]
    assert (recorded["run"], recorded["iteration"]) == ("source", 1)
    assert "params.policy.Dense_0.kernel" in recorded["copied"]
    assert recorded["fresh"] == []


def test_every_member_begins_with_them(runs_dir: Path) -> None:
    asked = resolved("func:CartPole-v1", *SHORT, "seeds=2", "checkpoint.keep=5")
    train(asked, runs_dir=runs_dir, name="members", init_from=runs_dir / "source")
    for key, array in agents(runs_dir / "source")[1].items():
        for member in agents(runs_dir / "members")[0][key]:
            np.testing.assert_array_equal(member, array)
    with pytest.raises(UsageError, match="has 2 members"):
        train(asked, runs_dir=runs_dir, name="x", init_from="members")


def test_arrays_of_another_shape_are_new_and_named(
    runs_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # six observations instead of four, three actions instead of two
    sets = ["env.num_envs=4", "rollout.num_steps=8", "network.hidden=[8]", *SHORT]
    words = [word for text in sets for word in ("--set", text)]
    words += ["--env", "Acrobot-v1", "--no-preset", "--init-from", "source", "-q"]
    words += ["--runs-dir", str(runs_dir), "--name", "acrobot"]
    assert main(["train", *words, "--set", "normalize.obs=true"]) == 0
    said = capsys.readouterr().err
    assert "warning: begins with the weights of source, iteration 1" in said
    assert "policy_head.kernel" in said
    begun, _ = agents(runs_dir / "acrobot")
    bias = ".params['value_head']['bias']"
    recorded = json.loads((runs_dir / "acrobot" / "meta.json").read_text())["init_from"]
    assert "params.value_head.bias" in recorded["copied"]
    assert "params.policy.Dense_0.kernel" in recorded["fresh"]
    assert begun[bias].shape == (1,)


def test_nothing_that_fits_is_an_error_and_leaves_no_run(runs_dir: Path) -> None:
    path = checkpoint.committed(runs_dir / "source" / "checkpoints")[-1]
    asked = resolved("func:Pendulum-v1", *SHORT, "network.hidden=[]")
    bare = {".params": np.zeros(3, np.float32)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pgcli.training.initial_weights.to_arrays", lambda agent: bare)
        with pytest.raises(CheckpointError, match="no array of the policy"):
            train(asked, runs_dir=runs_dir, name="none", init_from=path)
    assert not (runs_dir / "none").exists()
