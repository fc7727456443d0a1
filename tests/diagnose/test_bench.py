"""Shares of the time by hand, and every kind of run once."""

from collections.abc import Callable
from typing import Any

import pytest
from support.small_runs import config

from pgcli.diagnose.bench import bench, rate
from pgcli.diagnose.shares import advice, bottleneck, split
from pgcli.errors import UsageError
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.loops.host_loop import HostLoop


def test_shares_are_worked_by_hand() -> None:
    # per step: whole 10, collection 4 of which stepping 1, update 5; so 1 is the rest
    rates = {"whole": 1 / 10, "collection": 1 / 4, "bare": 1.0, "update": 1 / 5}
    shares = split(rates)
    assert shares == pytest.approx(
        {"stepping": 0.1, "acting": 0.3, "update": 0.5, "rest": 0.1}
    )
    assert bottleneck(shares) == "50% of an iteration is the update"


def test_shares_of_parts_that_are_slower_alone_fill_the_iteration() -> None:
    rates = {"whole": 1.0, "collection": 0.5, "bare": 1.0, "update": 0.5}
    assert split(rates) == pytest.approx(
        {"stepping": 0.25, "acting": 0.25, "update": 0.5, "rest": 0.0}
    )


def test_bottleneck_names_the_environments() -> None:
    shares = {"stepping": 0.7, "acting": 0.1, "update": 0.1, "rest": 0.1}
    assert bottleneck(shares).startswith("70% of an iteration is stepping")


def test_advice_for_an_odd_number_of_environments_is_an_even_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pgcli.diagnose.shares.cores", lambda: 2)
    shares = {"stepping": 0.1, "acting": 0.1, "update": 0.7, "rest": 0.1}

    def says_even(num_envs: int) -> bool:
        sets = f"env.num_envs={num_envs}", "network.hidden=[64, 64]"
        run = config("CartPole-v1", *sets, "rollout.num_steps=128")
        return "even env.num_envs" in advice(shares, run, "")

    assert says_even(63)
    assert not says_even(64)


@pytest.mark.parametrize(
    ("env_id", "algo"),
    [
        ("func:CartPole-v1", "ppo2"),
        pytest.param("func:CartPole-v1", "reward-to-go", marks=pytest.mark.slow),
        pytest.param("CartPole-v1", "ppo2", marks=pytest.mark.slow),
        pytest.param("CartPole-v1", "reward-to-go", marks=pytest.mark.slow),
    ],
)
def test_bench_measures_every_part(
    env_id: str, algo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    advanced, learned = 0, []
    for loop in (DeviceLoop, HostLoop):

        def advance(*arguments: Any, inner: Any = loop.advance) -> Any:
            nonlocal advanced
            advanced += 1
            return inner(*arguments)

        monkeypatch.setattr(loop, "advance", advance)

    def watched(part: Callable[[], int], seconds: float) -> float:
        before = advanced
        result = rate(part, seconds)
        learned.append(advanced > before)
        return result

    monkeypatch.setattr("pgcli.diagnose.bench.rate", watched)
    monkeypatch.setattr("pgcli.diagnose.limits.SECONDS", 0.01)
    result = bench(config(env_id, algo=algo), seconds=0.2)
    assert set(result["rates"]) == {"bare", "collection", "update", "whole"}
    assert min(result["rates"].values()) > 0
    assert sum(result["shares"].values()) == pytest.approx(1, abs=1e-3)
    # then the products and the functions
    parts = [*result["rates"], "flops", "functions"]
    assert learned == [name == "whole" for name in parts]
    assert min(result["arithmetic"].values()) > 0
    assert set(result["limits"]) == {"stepping", "arithmetic", "both"}
    assert result["memory_bytes"] > 2**26
    assert "of an iteration is" in result["bottleneck"]


@pytest.mark.slow
def test_bench_measures_with_workers() -> None:
    result = bench(config("CartPole-v1", "host.workers=1"), seconds=0.2)
    assert result["helpers"] == "1 worker"
    assert min(result["rates"].values()) > 0


def test_bench_refuses_runs_side_by_side() -> None:
    with pytest.raises(UsageError, match="one run"):
        bench(config("func:CartPole-v1", "seeds=2"))
