"""A run with a network of the user, from training to an export."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from support.small_runs import resolved
from support.toys import spec_of

import pgcli
from pgcli.cli.main import main
from pgcli.config.schema import NetworkConfig
from pgcli.envs import user_modules
from pgcli.errors import UsageError
from pgcli.nn.policy import make_policy
from pgcli.storage.run_directory import RunDirectory
from pgcli.training import run as training

PAGE = Path(__file__).parents[2] / "docs" / "networks.md"
FLAG = "--network-module my_net"


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module of the page on networks, in the current directory and named."""
    text = PAGE.read_text("utf-8")
    [code] = re.findall(r"```python\n(# my_net.py\n.*?)```", text, re.DOTALL)
    assert len(code.splitlines()) < 30
    (tmp_path / "my_net.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(user_modules, "NETWORKS", [])
    pgcli.use_network_modules(["my_net"])
    yield
    sys.modules.pop("my_net", None)


def test_network_of_the_page_fits_vectors(example: None) -> None:
    policy = make_policy(spec_of(), NetworkConfig("Residual", shared=True))
    params = jax.eval_shape(policy.init, jax.random.key(0))
    assert params["policy_head"]["kernel"].shape == (64, 2)


def test_recorded_module_must_be_named_again(example: None) -> None:
    recorded = {"network_modules": ["my_net", "other_net"]}
    with pytest.raises(UsageError, match="--network-module other_net") as raised:
        user_modules.require_all(recorded, "runs/a")
    assert "pgcli.use_network_modules(['other_net'])" in str(raised.value.help)
    assert "my_net" not in str(raised.value)


@pytest.mark.slow
def test_a_run_with_a_users_network_needs_its_module_again(
    example: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = resolved("CartPole-v1", "network.torso=Residual", "steps=32")
    first = training.train(asked, name="a")
    directory = RunDirectory(Path("runs/a"))
    assert directory.read_meta()["network_modules"] == ["my_net"]

    monkeypatch.setattr(user_modules, "NETWORKS", [])
    for repeat in (
        lambda: training.resume("a", steps=64),
        lambda: pgcli.evaluate("a"),
        lambda: pgcli.load_policy("runs/a"),
    ):
        with pytest.raises(UsageError, match=FLAG) as raised:
            repeat()
        assert "pgcli.use_network_modules(['my_net'])" in str(raised.value.help)

    assert main(["resume", "a", "--steps", "64", *FLAG.split(), "-q"]) == 0
    # exact: the same as in one go
    whole = resolved("CartPole-v1", "network.torso=Residual", "steps=64")
    result = training.train(whole, name="b")
    rows = [Path(f"runs/{name}/metrics.jsonl").read_bytes() for name in "ab"]
    assert rows[0] == rows[1]
    assert result["steps"]["used"] == 64 > first["steps"]["used"]

    assert pgcli.evaluate("a", episodes=2)["episodes"] == 2
    assert pgcli.load_policy("runs/a")(np.zeros((3, 4), np.float32)).shape == (3,)
    export = ["export", "a", "--format", "stablehlo", *FLAG.split(), "--json"]
    assert main(export) == 0
    capsys.readouterr()

    # a class that is no longer there is the user's mistake, not a damaged checkpoint
    monkeypatch.delattr(sys.modules["my_net"], "Residual")
    with pytest.raises(UsageError, match="there is no network `Residual`"):
        pgcli.load_policy("runs/a")
