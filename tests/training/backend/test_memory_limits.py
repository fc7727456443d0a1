"""Runs that do not fit in memory are refused with the figures, before they start."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.small_runs import config

from pgcli.cli.main import main
from pgcli.envs.make import make_device_env
from pgcli.errors import AcceleratorError, UsageError
from pgcli.training.backend import memory
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.members.device_members import DeviceMembers
from pgcli.training.members.host_members import HostMembers


def make(env_id: str, *sets: str) -> Any:
    given = config(env_id, "parallel.shards=1", *sets)
    if not given.env.on_device:
        return (HostMembers if given.has_members else HostLoop)(given)
    env = make_device_env(given.env)
    return (DeviceMembers if given.has_members else DeviceLoop)(given, env)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "func:CartPole-v1"])
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize(
    ("sets", "figures"),
    [
        # a sample has 4 × 4 bytes of observation, 4 of action and 6 × 4 of others:
        # 2³⁰ samples × 44 bytes = 44 GiB
        (("rollout.num_steps=268435456",), "1,073,741,824 samples of 44 bytes"),
        # 4·65536 + 65536 + 65536² + 65536 + 65536·(2 or 1) + 2 or 1, for two networks
        (("network.hidden=[65536,65536]",), "8,590,917,635 parameters"),
    ],
)
def test_run_that_cannot_fit_in_memory_is_refused_with_the_figures(
    monkeypatch: pytest.MonkeyPatch,
    env_id: str,
    seeds: int,
    sets: tuple[str, ...],
    figures: str,
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 16 * 2.0**30)
    with pytest.raises(UsageError, match="there are 16 GiB") as caught:
        make(env_id, f"seeds={seeds}", *sets)
    assert figures in caught.value.message
    assert "network.hidden" in str(caught.value.help)


def test_memory_of_a_container_is_its_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "memory.max")
    machine = memory.available()
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.available() == machine
    (tmp_path / "memory.max").write_text("1048576\n")
    assert memory.available() == 2**20


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: out of memory")]
)
def test_memory_that_runs_out_later_is_exit_6(error: Exception) -> None:
    with (
        pytest.raises(AcceleratorError, match="ran out of memory") as caught,
        memory.memory_errors(),
    ):
        raise error
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("words", [["--dry-run"], []])
def test_batch_beyond_32_bits_is_refused_by_the_configuration(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    sizes = ["--set", "env.num_envs=4096", "--set", "rollout.num_steps=1000000"]
    code = main(["train", "--env", "func:CartPole-v1", *sizes, "--json", *words])
    assert code == 2
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "= 4,096,000,000 samples; at most 2,147,483,647" in message


@pytest.mark.parametrize("env_id", ["CartPole-v1", "func:CartPole-v1"])
def test_dry_run_refuses_what_cannot_fit_in_memory(
    env_id: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(memory, "available", lambda: 16 * 2.0**30)
    sizes = ["--set", "rollout.num_steps=134217728", "--dry-run", "--json"]
    assert main(["train", "--env", env_id, "--no-preset", *sizes]) == 2
    message = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "1,073,741,824 samples of 44 bytes" in message
