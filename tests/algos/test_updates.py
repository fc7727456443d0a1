"""`ppo2` and `a2c` as whole updates: limits, freezes, a reference in plain loops."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from support.toys import (
    CONTINUOUS,
    DISCRETE,
    forever,
    gated_policy,
    linear_policy,
    quick_jit,
    random_rollout,
    random_transitions,
    run_config,
    shape_of,
    spec_of,
)

from pgcli.algos import ALGORITHMS
from pgcli.algos.advantage import rollout_advantage
from pgcli.algos.base import Hyperparameters, LearnerState, as_leaves
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.schema import OptimizerConfig
from pgcli.nn.policy import Agent, Policy, Unrolled
from pgcli.rollout.device_collector import begin, collect
from pgcli.rollout.policy_outputs import next_values
from pgcli.rollout.types import Rollout, Transitions
from pgcli.training.loops.base import to_words
from pgcli.training.step import Knobs, init_run, learn, make_knobs, make_setup

NUM_STEPS, NUM_ENVS, SIZE = 8, 4, 32
ACTIONS = {"discrete": DISCRETE, "box": CONTINUOUS}
every_action = pytest.mark.parametrize("action", sorted(ACTIONS))
RAW = {"standardize_advantage": False, "value_coef": 0.0}
FULL = {"num_epochs": 1, "num_minibatches": 1}
PASSES = {"num_epochs": 2, "num_minibatches": 4}
UNCLIPPED = OptimizerConfig(lr=0.05, max_grad_norm=None)


class Case(NamedTuple):
    policy: Policy
    params: Any
    rollout: Rollout


@cache
def case(action: str, recurrent: bool = False) -> Case:
    spec = spec_of(ACTIONS[action])
    policy = gated_policy(spec) if recurrent else linear_policy(spec)
    params = quick_jit(policy.init)(jax.random.key(0))
    carry = policy.initial_carry(NUM_ENVS)
    made = random_transitions(ACTIONS[action], 0, NUM_STEPS, NUM_ENVS, carry)
    return Case(policy, params, random_rollout(policy, params, made))


@cache
def program(action: str, algo: str, recurrent: bool) -> Callable:
    algorithm = ALGORITHMS[algo](case(action, recurrent).policy)

    @quick_jit
    def run(
        hyper: Hyperparameters, params: Any, rollout: Rollout, progress: jax.Array
    ) -> tuple[LearnerState, dict[str, jax.Array]]:
        learner = algorithm.init(hyper, Agent(params, None), shape_of(rollout))
        return algorithm.update(hyper, learner, rollout, progress, jax.random.key(7))

    return run


def update(
    action: str,
    algo: str,
    rollout: Rollout | None = None,
    *,
    optimizer: OptimizerConfig = UNCLIPPED,
    progress: float = 0.0,
    shards: int = 2,
    recurrent: bool = False,
    **hyper: Any,
) -> tuple[LearnerState, dict[str, jax.Array]]:
    """One update of the action's case, or of another rollout of its shape."""
    made = case(action, recurrent)
    config = as_leaves(ALGORITHM_CONFIGS[algo](**hyper)), as_leaves(optimizer)
    run = program(action, algo, recurrent)
    return run(
        Hyperparameters(*config, shards),
        made.params,
        made.rollout if rollout is None else rollout,
        np.float32(progress),
    )


def gradient(learner: LearnerState) -> np.ndarray:
    """The gradient of the only step taken, from Adam's first moment (1 − β₁)·g."""
    assert learner.opt_state.count == 1
    return np.asarray(learner.opt_state.mu) / (1 - 0.9)


def same(x: Any, y: Any) -> None:
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, x, y)


def close(x: Any, y: Any, atol: float) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, atol=atol), x, y)


@every_action
def test_ppo2_at_the_acting_parameters_has_the_gradient_of_a2c(action: str) -> None:
    a2c = gradient(update(action, "a2c", **RAW)[0])
    ppo2 = gradient(update(action, "ppo2", **RAW, **FULL)[0])
    # ∇r = r·∇log π, and r = 1 up to a rounding or two
    np.testing.assert_allclose(ppo2, a2c, atol=1e-6)
    assert np.linalg.norm(a2c) > 0.1


@every_action
def test_ppo2_and_a2c_share_their_value_and_entropy_terms(action: str) -> None:
    more = RAW | {"value_coef": 0.7, "entropy_coef": 0.2}
    a2c = gradient(update(action, "a2c", **more)[0])
    ppo2 = gradient(update(action, "ppo2", **more, **FULL)[0])
    np.testing.assert_allclose(ppo2, a2c, atol=1e-6)


@every_action
def test_a2c_gradient_matches_a_sum_in_numpy(action: str) -> None:
    policy, params, rollout = case(action)
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.random((NUM_STEPS, NUM_ENVS)) < 0.7, jnp.float32)
    rollout = rollout.replace(weight=weight, reward=rollout.reward * weight)
    options = {"gamma": 0.9, "gae_lambda": 0.0}
    found = update(action, "a2c", rollout, value_coef=0.3, entropy_coef=0.1, **options)[
        0
    ]
    # λ = 0: Â = r + γV(s') − V(s), whose R̂ = r + γV(s')
    target = rollout.reward + 0.9 * rollout.next_value
    real = weight / jnp.sum(weight)

    def ascend(params: Any) -> jax.Array:
        _, dist, value = policy.apply(params, (), rollout.obs, rollout.start)
        logp = dist.log_prob(rollout.action)
        each = logp * (target - rollout.value) + 0.1 * dist.entropy()
        return jnp.sum(real * (each - 0.3 * 0.5 * (value - target) ** 2))

    expected, _ = ravel_pytree(quick_jit(jax.grad(ascend))(params))
    np.testing.assert_allclose(-gradient(found), expected, atol=1e-6)


@every_action
def test_entropy_coefficient_raises_the_entropy(action: str) -> None:
    flat = case(action).rollout
    nothing = flat.replace(reward=0 * flat.reward, value=0 * flat.value)
    nothing = nothing.replace(next_value=nothing.value)
    before = update(action, "a2c", nothing, value_coef=0.0)[1]["entropy"]
    after = update(action, "a2c", nothing, value_coef=0.0, entropy_coef=0.5)[1]
    assert after["entropy"] > before + 1e-3


def reference(
    action: str,
    num_epochs: int,
    clip_eps: float,
    *,
    recompute: bool = False,
    value_clip: float = np.inf,
) -> Any:
    """Full-batch PPO2 in plain loops, credit by double sums; γ = .9, λ = .8."""
    policy, params, rollout = case(action)
    optimizer = optax.adam(0.05, eps=1e-5)
    state = optimizer.init(params)
    kept_value = rollout.value

    def see(params: Any) -> tuple:
        _, dist, value = policy.apply(params, (), rollout.obs, rollout.start)
        return dist.log_prob(rollout.action), value

    def credit(value: np.ndarray, next_value: np.ndarray) -> np.ndarray:
        delta = np.asarray(rollout.reward) + 0.9 * next_value - value
        out = np.zeros(delta.shape, np.float32)
        for t, n in np.ndindex(*delta.shape):
            for k in range(t, NUM_STEPS):
                out[t, n] += 0.72 ** (k - t) * delta[k, n]
                if rollout.terminated[k, n] or rollout.truncated[k, n]:
                    break
        return out

    @quick_jit
    def values(params: Any) -> tuple:
        seen = Unrolled(rollout.dist, see(params)[1], ())
        return seen.value, next_values(policy, params, rollout, seen)

    @quick_jit
    def step(params: Any, state: Any, advantage: Any, return_: Any) -> tuple:
        def loss(params: Any) -> jax.Array:
            logp, value = see(params)
            ratio = jnp.exp(logp - rollout.logp)
            flat = jnp.where(advantage > 0, ratio > 1 + clip_eps, ratio < 1 - clip_eps)
            edge = jnp.where(advantage > 0, 1 + clip_eps, 1 - clip_eps)
            gain = jnp.where(flat, edge, ratio) * advantage
            near = jnp.clip(value, kept_value - value_clip, kept_value + value_clip)
            worse = jnp.maximum((value - return_) ** 2, (near - return_) ** 2)
            return jnp.mean(-gain + 0.5 * 0.5 * worse)

        grad = jax.grad(loss)(params)
        with jax.numpy_dtype_promotion("standard"):
            change, state = optimizer.update(grad, state, params)
        return optax.apply_updates(params, change), state

    value, next_value = rollout.value, rollout.next_value
    for _ in range(num_epochs):
        if recompute:
            value, next_value = values(params)
        advantage = credit(np.asarray(value), np.asarray(next_value))
        params, state = step(params, state, advantage, advantage + value)
    return params


REFERENCE = {
    "num_minibatches": 1,
    "gamma": 0.9,
    "gae_lambda": 0.8,
    "standardize_advantage": False,
}


@every_action
@pytest.mark.parametrize("clip_eps", [0.05, 1e9])
def test_ppo2_equals_a_reference_in_plain_loops(action: str, clip_eps: float) -> None:
    learner, metrics = update(
        action, "ppo2", num_epochs=4, clip_eps=clip_eps, **REFERENCE
    )
    close(learner.agent.params, reference(action, 4, clip_eps), 1e-5)
    # the small ε clips, so that the case is worth something; the large one cannot
    assert (metrics["clip_fraction"] > 0) == (clip_eps < 1)


def test_ppo2_recomputes_credit_with_the_new_critic_at_every_epoch() -> None:
    options = {"num_epochs": 4, "clip_eps": 0.2, **REFERENCE}
    once = update("discrete", "ppo2", **options)[0].agent.params
    anew = update("discrete", "ppo2", recompute_advantage=True, **options)[0]
    close(anew.agent.params, reference("discrete", 4, 0.2, recompute=True), 1e-5)
    assert not np.allclose(anew.agent.params["value"], once["value"], atol=1e-4)


@pytest.mark.parametrize("recompute", [False, True])
def test_value_clip_stays_around_the_values_at_collection(recompute: bool) -> None:
    options = {"num_epochs": 4, "clip_eps": 0.2, **REFERENCE}
    found = update(
        "discrete",
        "ppo2",
        value_clip_eps=0.05,
        recompute_advantage=recompute,
        **options,
    )[0].agent.params
    exact = reference("discrete", 4, 0.2, recompute=recompute, value_clip=0.05)
    close(found, exact, 1e-5)
    free = reference("discrete", 4, 0.2, recompute=recompute)
    assert not np.allclose(found["value"], free["value"], atol=1e-3)


@pytest.mark.parametrize(("action", "algo"), [("box", "a2c"), ("discrete", "ppo2")])
def test_samples_without_weight_change_nothing(action: str, algo: str) -> None:
    rollout = case(action).rollout
    rng = np.random.default_rng(1)
    # phantoms follow ends, as in NEXT_STEP autoreset: what is in them reaches no one
    phantom = np.zeros((NUM_STEPS, NUM_ENVS), bool)
    phantom[1:] = np.asarray(rollout.terminated | rollout.truncated)[:-1]
    assert phantom.sum() > 4
    rollout = rollout.replace(weight=jnp.asarray(~phantom, jnp.float32))

    def garbage(x: jax.Array) -> jax.Array:
        noise = (
            rng.integers(0, 2, x.shape)
            if x.dtype == np.int32
            else (5 * rng.normal(size=x.shape))
        )
        mask = phantom.reshape(*phantom.shape, *(1,) * (x.ndim - 2))
        return jnp.where(mask, noise.astype(x.dtype), x)

    fields = ("obs", "action", "logp", "value", "next_value", "reward", "dist")
    dirty = rollout.replace(
        **{name: jax.tree.map(garbage, getattr(rollout, name)) for name in fields}
    )
    more = PASSES if algo == "ppo2" else {}
    clean_learner, clean_metrics = update(action, algo, rollout, **more)
    dirty_learner, dirty_metrics = update(action, algo, dirty, **more)
    same(dirty_learner.agent.params, clean_learner.agent.params)
    close(dirty_metrics, clean_metrics, 1e-6)


@pytest.mark.parametrize("algo", ["a2c", "ppo2"])
def test_a_rollout_without_real_samples_changes_nothing(algo: str) -> None:
    made = case("discrete")
    nothing = made.rollout.replace(weight=0 * made.rollout.weight)
    more = PASSES if algo == "ppo2" else {}
    learner, metrics = update("discrete", algo, nothing, **more)
    same(learner.agent.params, made.params)
    assert learner.opt_state.count == 0
    assert metrics["skipped"] == 0
    assert all(np.isfinite(value) for value in metrics.values())


@pytest.mark.parametrize("algo", ["a2c", "ppo2"])
def test_a_gradient_that_is_not_finite_is_skipped_and_counted(algo: str) -> None:
    made = case("discrete")
    reward = made.rollout.reward.at[0, 1].set(jnp.inf)
    more = PASSES if algo == "ppo2" else {}
    learner, metrics = update(
        "discrete", algo, made.rollout.replace(reward=reward), **more
    )
    # no step comes before it that it could affect: its minibatch, in each pass
    assert metrics["skipped"] == (2 if algo == "ppo2" else 1)
    assert learner.opt_state.count == (6 if algo == "ppo2" else 0)
    for leaf in jax.tree.leaves(learner):
        assert np.isfinite(leaf).all()


@pytest.mark.parametrize(("kl_stop", "steps"), [(1e-4, 1), (1e9, 8)])
def test_kl_stop_lets_no_step_follow_one_too_many(kl_stop: float, steps: int) -> None:
    # the learning rate of .05 takes the first step past 1e-4 nats
    learner = update("discrete", "ppo2", kl_stop=kl_stop, **PASSES)[0]
    assert learner.opt_state.count == steps
    free = update("discrete", "ppo2", **PASSES)[0]
    unchanged = np.allclose(learner.opt_state.mu, free.opt_state.mu, atol=1e-6)
    assert unchanged == (steps == 8)


def test_kl_stop_leaves_the_parameters_of_the_step_before() -> None:
    frozen = update(
        "discrete", "ppo2", num_epochs=9, num_minibatches=1, kl_stop=1e-4, **RAW
    )[0]
    one = update("discrete", "ppo2", **RAW, **FULL)[0]
    close(frozen.agent.params, one.agent.params, 1e-6)  # rounded in another program
    assert frozen.opt_state.count == 1


def test_linear_schedules_have_half_their_values_at_half_the_budget() -> None:
    linear = {"clip_schedule": "linear", "entropy_schedule": "linear"}
    halved = {"lr": 0.05, "clip_eps": 0.02, "entropy_coef": 0.05}

    def at_half(lr: float, clip_eps: float, entropy_coef: float) -> Any:
        return update(
            "discrete",
            "ppo2",
            optimizer=OptimizerConfig(lr, "linear", None),
            progress=0.5,
            clip_eps=clip_eps,
            entropy_coef=entropy_coef,
            **linear,
            **PASSES,
        )[0].agent.params

    def constant(lr: float, clip_eps: float, entropy_coef: float) -> Any:
        return update(
            "discrete",
            "ppo2",
            optimizer=OptimizerConfig(lr, max_grad_norm=None),
            progress=0.5,
            clip_eps=clip_eps,
            entropy_coef=entropy_coef,
            **PASSES,
        )[0].agent.params

    expected = constant(**halved)
    close(at_half(**{k: 2 * v for k, v in halved.items()}), expected, 1e-6)
    for name in halved:  # each of them alone would have been seen
        one_off = constant(**(halved | {name: 2 * halved[name]}))
        assert not np.allclose(one_off["head"], expected["head"], atol=1e-4), name


def test_full_batch_updates_do_not_depend_on_shards() -> None:
    two = update("discrete", "ppo2", shards=2, **RAW, **FULL)[0]
    four = update("discrete", "ppo2", shards=4, **RAW, **FULL)[0]
    close(two.agent.params, four.agent.params, 1e-6)


def test_recurrent_gradient_flows_through_time() -> None:
    policy, params, rollout = case("discrete", recurrent=True)
    found = gradient(update("discrete", "a2c", recurrent=True, **RAW)[0])
    advantage, _ = rollout_advantage(rollout, jnp.float32(0.99), jnp.float32(0.95))

    def ascend(params: Any) -> jax.Array:
        carry, total = rollout.first_carry, jnp.float32(0)
        for t in range(NUM_STEPS):
            obs, start = rollout.obs[t], rollout.start[t]
            carry, dist, _ = policy.apply(params, carry, obs, start)
            logp = dist.log_prob(rollout.action[t])
            total += jnp.sum(logp * advantage[t]) / SIZE
        return total

    expected, _ = ravel_pytree(quick_jit(jax.grad(ascend))(params))
    np.testing.assert_allclose(-found, expected, atol=1e-6)


Distort = Callable[[Transitions], Transitions]
GAMMA = 0.9


def as_it_is(transitions: Transitions) -> Transitions:
    return transitions


def truncation_as_termination(transitions: Transitions) -> Transitions:
    done = transitions.terminated | transitions.truncated
    return transitions.replace(terminated=done)


@pytest.mark.parametrize(
    ("distort", "right"), [(as_it_is, True), (truncation_as_termination, False)]
)
def test_value_of_reward_one_for_ever_is_that_of_no_end(
    distort: Distort, right: bool
) -> None:
    # cut every 3 steps, rollouts of 7: V is 1/(1 − γ) = 10. With each cut taken for an
    # end the most that is left is 1 + γ + γ² = 2.71.
    config = run_config(
        "ppo2",
        num_envs=2,
        num_steps=7,
        shards=1,
        optimizer=OptimizerConfig(lr=0.03, max_grad_norm=None),
        num_epochs=20,
        num_minibatches=1,
        gamma=GAMMA,
        gae_lambda=0.8,
        value_coef=1.0,
    )
    env = forever(3)
    dist = case("discrete").rollout.dist
    bias = Policy(
        lambda key: {"value": jnp.zeros(1), "logits": jnp.zeros((1, 2))},
        lambda num_envs: (),
        lambda params, carry, obs, start, mask=None: (
            carry,
            dist.replace(logits=obs @ params["logits"]),
            obs[..., 0] * params["value"][0],
        ),
    )
    setup = make_setup(config, env.spec, bias)

    @quick_jit
    def train(knobs: Knobs, budget: jax.Array, key: jax.Array) -> jax.Array:
        first = init_run(setup, knobs, key), begin(env, bias, key, 2)

        def iteration(carry: Any, key: jax.Array) -> Any:
            state, env_state = carry
            agent = state.learner.agent
            env_state, seen = collect(env, bias, agent, env_state, key, 7)
            state, _ = learn(setup, knobs, state, distort(seen), budget, key)
            return (state, env_state), ()

        (state, _), _ = jax.lax.scan(iteration, first, jax.random.split(key, 150))
        return state.learner.agent.params["value"][0]

    found = float(train(make_knobs(config), to_words(10**6), jax.random.key(0)))
    if right:
        assert abs(found - 10) < 0.2
    else:
        assert found < 3
