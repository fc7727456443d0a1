"""Gradient noise of a real environment, from collection to rows."""

from pathlib import Path

import pytest
from support import small_runs

from pgcli.errors import UsageError
from pgcli.ladder import fitted_baseline
from pgcli.ladder.gradient_noise_over_training import gradient_variance
from pgcli.ladder.plan import Request, make_rungs

EPISODES = 6
SMALL = tuple(text for text in small_runs.SMALL if not text.startswith("rollout."))


@pytest.fixture(autouse=True)
def short_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitted_baseline, "STEPS", 5)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", ["func:CartPole-v1", "Pendulum-v1"])
def test_every_weight_is_measured_at_both_policies(env_id: str) -> None:
    messages: list[str] = []
    result = gradient_variance(
        small_runs.config(env_id), steps=64, episodes=EPISODES, tell=messages.append
    )
    assert [point["policy"] for point in result["points"]] == ["fresh", "trained"]
    assert [point["steps"] for point in result["points"]] == [0, 64]
    for point in result["points"]:
        assert point["episodes"] == EPISODES
        assert point["length_mean"] == 5  # the limit; no pole falls that soon
        assert len(point["rows"]) == 11
        # rounding may take a variance of nothing below 0
        assert all(row["variance"] > -1e-3 for row in point["rows"])
        if "CartPole" in env_id:  # every return is 5: nothing to learn, nothing to say
            assert point["rows"][1]["ratio"] is None
    assert messages


def test_rung_without_discount_has_plain_rows_only() -> None:
    [rung] = make_rungs(
        Request("func:CartPole-v1", ("reinforce",), (0,), Path(), sets=SMALL)
    )
    result = gradient_variance(
        rung.config, steps=0, episodes=EPISODES, tell=lambda _: None
    )
    assert result["gamma"] is None
    assert all(len(point["rows"]) == 7 for point in result["points"])


def test_environment_without_a_limit_is_a_usage_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from pgcli.ladder import gradient_noise_over_training

    make = gradient_noise_over_training.make_device_env

    def unlimited(config: object) -> object:
        env = make(config)  # type: ignore[arg-type]
        return env._replace(spec=env.spec.__class__("x", env.spec.obs, env.spec.action))

    monkeypatch.setattr(gradient_noise_over_training, "make_device_env", unlimited)
    with pytest.raises(UsageError, match="no time limit"):
        gradient_variance(
            small_runs.config("func:CartPole-v1"), steps=1, episodes=3, tell=print
        )
