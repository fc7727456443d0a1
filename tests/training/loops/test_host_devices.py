"""Updates from host environments on two devices equal those on one, up to rounding."""

from typing import Any

import jax
import numpy as np
import pytest
from support.small_runs import arrays, assert_same_bytes, config

from pgcli.config.errors import ConfigError
from pgcli.config.schema import RunConfig
from pgcli.envs.base import Box, Discrete, EnvSpec, HostSlot
from pgcli.training.backend.layout import Layout, choose, make_mesh
from pgcli.training.loops.host_loop import HostLoop

CLOSE = 1e-5
"""Split sums round differently; three updates do not carry it further."""

FILTERS = config(
    "CartPole-v1",
    "network.torso=nature_cnn",
    "network.shared=true",
    "rollout.end_on_life_loss=true",
    "normalize.obs=false",
)


class Pictures:
    """Four games with images of game and step, and with different ends.

    Game n is cut after n + 2 steps if n is odd, terminates then if it is even, and
    loses a life at its second step. Observations do not depend on the action.
    """

    num_envs = 4
    spec = EnvSpec("toy:pictures", Box((36, 36, 1), "uint8", 0, 255), Discrete(2), 9)

    def __init__(self) -> None:
        self._elapsed = np.zeros(self.num_envs, int)

    def _picture(self, n: int) -> np.ndarray:
        generator = np.random.default_rng((n, int(self._elapsed[n])))
        return generator.integers(256, size=(36, 36, 1), dtype=np.uint8)

    def reset(self, obs: np.ndarray) -> None:
        self._elapsed[:] = 0
        for n in range(self.num_envs):
            obs[n] = self._picture(n)

    def step(self, action: np.ndarray, slot: HostSlot) -> list[tuple[int, Any]]:
        finals = []
        self._elapsed += 1
        for n, elapsed in enumerate(self._elapsed):
            ended, cut = elapsed == n + 2, n % 2 == 1
            slot.reward[n] = 2.0 * action[n] - 1
            slot.terminated[n], slot.truncated[n] = ended and not cut, ended and cut
            slot.start[n] = ended
            assert slot.life_lost is not None
            slot.life_lost[n] = elapsed == 2 and not ended
            if ended and cut:
                finals.append((n, self._picture(n)))
            self._elapsed[n] = 0 if ended else elapsed
            slot.obs[n] = self._picture(n)
        return finals

    def close(self) -> None:
        pass


def on(devices: int, cfg: RunConfig, env: Any = None) -> HostLoop:
    return HostLoop(cfg, env, mesh=make_mesh(Layout(1, devices)))


def advance(loop: HostLoop, iterations: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for _ in range(iterations):
        rows += loop.advance(loop.steps + 1, 0.0)
    return rows


def assert_alike(one: HostLoop, two: HostLoop, updates: int) -> None:
    for actual, theirs in zip(
        advance(two, updates), advance(one, updates), strict=True
    ):
        assert actual == pytest.approx(theirs, abs=1e-3, nan_ok=True)
        assert actual["episodes"] == theirs["episodes"]
    learners = [loop.snapshot() for loop in (one, two)]
    for groups in learners:
        del groups["env"]  # the shape of final observations depends on the devices
    expected, result = map(arrays, learners)
    for name, array in result.items():
        np.testing.assert_allclose(
            array, expected[name], atol=CLOSE, rtol=CLOSE, err_msg=name
        )


@pytest.mark.parametrize("settings", [(), ("network.memory=gru",)])
def test_host_learner_on_two_devices_is_that_on_one(settings: tuple[str, ...]) -> None:
    # 4 environments truncated every 5 steps: both devices have final observations
    cfg = config("CartPole-v1", *settings)
    one, two = on(1, cfg), on(2, cfg)
    assert_alike(one, two, 3)
    assert {len(x.devices()) for x in jax.tree.leaves(two.agent())} == {1}
    played, expected = (loop.evaluate(4, "reporting", 0) for loop in (two, one))
    np.testing.assert_array_equal(played, expected)


@pytest.mark.slow
def test_host_learner_of_images_on_two_devices_is_that_on_one() -> None:
    assert_alike(on(1, FILTERS, Pictures()), on(2, FILTERS, Pictures()), 3)


@pytest.mark.slow
def test_host_learner_on_two_devices_resumes_with_the_same_bytes() -> None:
    cfg = config("CartPole-v1")
    first, second = on(2, cfg), on(2, cfg)
    advance(first, 2)
    stored = {
        k: {n: x.copy() for n, x in v.items()} for k, v in first.snapshot().items()
    }
    assert second.restore(stored, "here") == "exact"
    advance(second, 2)
    advance(first, 2)
    assert second.iteration == 4
    assert_same_bytes(arrays(second.snapshot()), arrays(first.snapshot()))


def test_layout_splits_host_batches_that_are_worth_it() -> None:
    wide = "network.hidden=[64,64]"
    large = config("CartPole-v1", "env.num_envs=64", "rollout.num_steps=128", wide)
    assert choose(large, 2, on_cpu=True) == Layout(1, 2)
    assert choose(large, 2, on_cpu=False) == Layout(1, 1)  # host environments feed one
    assert choose(config("CartPole-v1"), 2, on_cpu=True) == Layout(1, 1)
    assert choose(FILTERS, 2, on_cpu=True) == Layout(1, 1)
    asked = config("CartPole-v1", "parallel.devices=2")
    assert choose(asked, 2, on_cpu=True) == Layout(1, 2)
    episodes = config("CartPole-v1", algo="reward-to-go")
    assert choose(episodes, 2, on_cpu=True) == Layout(1, 1)


def test_layout_of_host_runs_side_by_side_is_one_device() -> None:
    assert choose(config("CartPole-v1", "seeds=2"), 2, on_cpu=True) == Layout(1, 1)
    with pytest.raises(ConfigError, match="take turns on one"):
        config("CartPole-v1", "seeds=2", "parallel.devices=2")
