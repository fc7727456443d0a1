"""What an environment returns is believed or refused, never bent."""

import itertools
import re
from contextlib import closing
from typing import Any

import jax
import numpy as np
import pytest
from cases import spaces as cases
from support.small_runs import config
from support.toys import FLAT

from pgcli.config.schema import EnvConfig, NetworkConfig
from pgcli.diagnose.host_env_check import check_host
from pgcli.envs.actions import host_action, random_action
from pgcli.envs.base import Box, HostEnv, Space
from pgcli.envs.host.env_factory import env_factory
from pgcli.envs.host.in_process import InProcess
from pgcli.envs.host.native_vector import NativeVector
from pgcli.envs.make import make_host_env
from pgcli.envs.spaces import spec_from_json
from pgcli.errors import EnvironmentFailed, UsageError
from pgcli.nn.policy import Agent, make_policy
from pgcli.rollout.bounds import BoundsWarning, bounded
from pgcli.rollout.host_collector import HostCollector, blank_state
from pgcli.rollout.types import Transitions
from pgcli.training.evaluation.host import HostEvaluator
from pgcli.training.loops.host_env_checkpoint import StoredEnv, store
from pgcli.training.loops.host_loop import HostLoop

SEEDS = [1, 2]
"""Environment 1 misbehaves."""
FAULTS = ("outside", "dtype", "shape", "finite")
KINDS = list(itertools.product(cases.BAD_OBS, FAULTS))
STEPS = 4


def odd(workers: Any = 0, env_id: str = "Odd-v0", **kwargs: Any) -> HostEnv:
    return make_host_env(EnvConfig(env_id, kwargs=kwargs), SEEDS, workers=workers)


class Still:
    """Acts without a network: uniformly, or as a standard normal."""

    def __init__(self, env: HostEnv) -> None:
        self._env, self._generator = env, np.random.default_rng(0)

    def begin(self, agent: Any) -> None:
        pass

    def step(self, carry: Any, obs: Any, start: Any, noise: Any) -> Any:
        count = (self._env.num_envs,)
        return carry, random_action(self._env.spec.action, count, self._generator)


def rollout(env: HostEnv, **options: Any) -> tuple[HostCollector, Transitions]:
    """A rollout without a compiled program."""
    policy = make_policy(env.spec, NetworkConfig(hidden=(2,)))
    collector = HostCollector(env, policy, STEPS, Still(env), **options)
    collector._noise = lambda key: np.zeros(STEPS)
    return collector, collector.collect(Agent({}, None), jax.random.key(0))


def collect(env: HostEnv) -> list[str]:
    """The warnings of a rollout."""
    collector, _ = rollout(env)
    return BoundsWarning(env.spec.obs).news(collector.outside, 7)


def assert_named(env: HostEnv, kind: str, fault: str) -> None:
    """A rollout raises an error, or warns of a Box's bounds, with the right words."""
    words = cases.BAD_OBS[kind][fault][1]
    try:
        if fault == "outside" and kind in ("floats", "integers"):
            (warning,) = collect(env)
            assert words in warning
            assert "% of the steps of iteration 7" in warning
            return
        with pytest.raises(EnvironmentFailed) as caught:
            collect(env)
    finally:
        env.close()
    assert words in caught.value.message
    assert "seed 2" in str(caught.value.where) or isinstance(env, NativeVector)


@pytest.mark.parametrize(("kind", "fault"), KINDS)
@pytest.mark.parametrize("workers", [0, "thread"])
def test_observation_that_does_not_fit_is_named(
    kind: str, fault: str, workers: Any
) -> None:
    assert_named(odd(workers, obs=kind, fault=fault), kind, fault)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        pytest.param(kind, fault, marks=() if i % 7 == 0 else pytest.mark.slow)
        for i, (kind, fault) in enumerate(KINDS)
    ],
)
def test_observation_of_a_worker_that_does_not_fit_is_named(
    kind: str, fault: str
) -> None:
    assert_named(odd(1, obs=kind, fault=fault), kind, fault)


CORES = {
    "outside": "outside its space|cannot hold|is not in",
    "dtype": "has the dtype",
    "shape": "has the shape|has the keys",
    "finite": "not finite|has the dtype",
}


@pytest.mark.parametrize(("kind", "fault"), KINDS)
def test_observations_of_a_native_vector_that_do_not_fit_are_named(
    kind: str, fault: str
) -> None:
    env = NativeVector(cases.OddVector(kind, fault), SEEDS, "Odd-v0", None)
    try:
        text = "".join(collect(env))
    except EnvironmentFailed as error:
        text = error.message
    assert re.search(CORES[fault], text), text


@pytest.mark.parametrize(("kind", "fault"), KINDS)
def test_check_says_of_an_observation_what_training_says(kind: str, fault: str) -> None:
    factory = env_factory(EnvConfig("Odd-v0", kwargs={"obs": kind, "fault": fault}))
    texts = [x.message for x in check_host(factory) if x.level != "ok"]
    assert any(re.search(CORES[fault], text) for text in texts), texts


@pytest.mark.parametrize("fault", cases.BAD_RETURN)
def test_value_of_a_step_that_breaks_the_contract_is_named(fault: str) -> None:
    _, words, help = cases.BAD_RETURN[fault]
    with pytest.raises(EnvironmentFailed) as caught:
        collect(odd(fault=fault))
    assert words in caught.value.message
    assert "at its step 1" in caught.value.message
    assert help in str(caught.value.help)
    assert caught.value.where == "environment Odd-v0, seed 2"
    factory = env_factory(EnvConfig("Odd-v0", kwargs={"fault": fault}))
    messages = [finding.message for finding in check_host(factory)]
    words = words.replace("of environment 1 ", "at step 2 ")
    assert any(words in message for message in messages), messages


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        ("OldStep-v0", "result of `step` of environment 0 has four values"),
        ("OldReset-v0", "result of `reset` of environment 0 is not `obs, info`"),
        ("NoSeed-v0", "method `reset` of environment 0 takes no `seed`"),
    ],
)
def test_old_gym_is_named_with_the_wrapper_to_use(env_id: str, words: str) -> None:
    with pytest.raises(EnvironmentFailed) as caught:
        collect(odd(env_id=env_id))
    assert words in caught.value.message
    assert "Gym before 0.26" in caught.value.message
    assert "GymV21CompatibilityV0" in str(caught.value.help)
    helps = [
        str(finding.help) for finding in check_host(env_factory(EnvConfig(env_id)))
    ]
    assert any("GymV21CompatibilityV0" in help for help in helps)


def test_flags_of_0_and_1_are_bools_and_other_numbers_are_rewards() -> None:
    class Plain(cases.Odd):
        def step(self, action: Any) -> Any:
            return self._good, np.array(3), 0, np.int64(1), {}

    _, seen = rollout(InProcess([Plain()], [0], "Plain-v0"))
    assert (seen.reward[0, 0], seen.terminated[0, 0], seen.truncated[0, 0]) == (3, 0, 1)


@pytest.mark.parametrize("action", cases.ACTIONS)
def test_actions_are_as_from_sample(action: str) -> None:
    # the environment itself compares class, dtype and shape with its own sample
    for workers in (0, "thread"):
        collect(odd(workers, action=action))


def test_integers_of_64_bits_keep_their_size() -> None:
    env = odd(obs="integers")
    assert isinstance(env.spec.obs, Space)
    assert env.spec.obs.dtype == "float32"
    buffer = np.zeros((2, 2), env.spec.obs.dtype)
    env.reset(buffer)
    np.testing.assert_array_equal(buffer, [[0, 2**32]] * 2)


def test_integers_of_64_bits_train_as_floats_do() -> None:
    first = HostLoop(config("Light-v0"))
    floats = config("Light-v0", "env.kwargs={dtype: float64}")
    loops = [first, HostLoop(floats, like=first)]
    rows = [[loop.advance(1, 0.0) for _ in range(2)] for loop in loops]
    assert rows[0] == rows[1]
    (mean,) = (x for x in jax.tree.leaves(loops[0].agent().obs_stats.mean))
    assert float(mean[0]) > 2**30  # of 0 and 2**32


def test_space_of_an_older_version_has_the_dtypes_of_this_one() -> None:
    old = {"type": "Box", "shape": [2], "dtype": "int32", "low": "0", "high": "9"}
    action = {"type": "Discrete", "n": 2, "start": 0}
    spec = spec_from_json(
        {"id": "x", "obs": old, "action": action, "max_episode_steps": 5}
    )
    assert spec.obs == Box((2,), "float32", 0.0, 9.0)
    assert host_action(spec, np.zeros(3, np.int32)).dtype == np.int32


def test_collector_of_an_older_version_is_restored_as_floats() -> None:
    env = odd(obs="integers")
    collector, _ = rollout(env)
    policy = make_policy(env.spec, NetworkConfig(hidden=(2,)))
    group = store(env, collector.get_state(), 0, None)
    name = "['collector']['obs']"
    group[name] = np.full_like(group[name], 3, np.int32)
    state = StoredEnv(group, "x").restore(odd(obs="integers"), blank_state(env, policy))
    assert state["obs"].dtype == np.float32
    assert (state["obs"] == 3).all()


def test_last_observation_of_an_episode_counts_as_outside() -> None:
    class Leaves(cases.Odd):
        def step(self, action: Any) -> Any:
            return np.float32([0, -7]), 1.0, True, False, {}

    (warning,) = collect(InProcess([Leaves(), Leaves()], SEEDS, "Leaves-v0"))
    assert "-7 is not in [-1, 1], in 100 % of the steps" in warning


def test_bounds_that_a_dtype_cannot_leave_are_not_checked() -> None:
    env = odd(obs="bytes")
    assert bounded(env.spec.obs) == {}
    assert bounded(FLAT) == {}


def test_lives_that_are_no_number_matter_only_where_they_are_used() -> None:
    env = InProcess([cases.Lives(), cases.Lives()], SEEDS, "Lives-v0")
    assert collect(env) == []
    with pytest.raises(UsageError, match="`lives` is 'many'"):
        rollout(env, with_lives=True)


def evaluator_of(env: HostEnv) -> HostEvaluator:
    """An evaluator without a compiled program."""
    evaluator = HostEvaluator(make_policy(env.spec, NetworkConfig(hidden=(2,))), True)
    generator = np.random.default_rng(0)
    evaluator._fold = lambda key, step: key  # type: ignore[assignment]
    evaluator._act = lambda *_: (  # type: ignore[assignment]
        (),
        random_action(env.spec.action, (env.num_envs,), generator),
    )
    return evaluator


@pytest.mark.parametrize(("kind", "fault"), KINDS)
def test_evaluation_says_of_an_observation_what_training_says(
    kind: str, fault: str
) -> None:
    env = odd(obs=kind, fault=fault)
    evaluator, key = evaluator_of(env), jax.random.key(0)
    words = cases.BAD_OBS[kind][fault][1]
    if fault == "outside" and kind in ("floats", "integers"):
        evaluator.play(env, Agent({}, None), 2, key)
        (warning,) = BoundsWarning(env.spec.obs).news(evaluator.outside, None)
        # environment 1 misbehaves from its second step on, in 49 of 50 steps
        assert words in warning
        assert "in 49 % of the steps of the evaluation" in warning
        return
    with pytest.raises(EnvironmentFailed) as caught:
        evaluator.play(env, Agent({}, None), 2, key)
    assert words in caught.value.message
    assert "seed 2" in str(caught.value.where)


@pytest.mark.slow
def test_a_run_warns_once_of_bounds_in_training_and_evaluation() -> None:
    loop = HostLoop(config("Odd-v0", "env.kwargs={obs: floats, fault: outside}"))
    with closing(loop):
        loop.evaluate(4, "selection", 0)
        (warning,) = loop.news()
        assert "100 is not in [-1, 1]" in warning
        assert "of the evaluation" in warning
        loop.advance(64, 9.0)
        loop.evaluate(4, "reporting", 0)
        assert not [text for text in loop.news() if "space" in text]
