"""What the policy says of transitions: V(s'_t) above all."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import (
    CONTINUOUS,
    DISCRETE,
    gated_policy,
    linear_policy,
    quick_jit,
    random_rollout,
    random_transitions,
    spec_of,
)

from pgcli.nn.normalize import ObsStats
from pgcli.nn.policy import Policy
from pgcli.rollout.policy_outputs import revalue
from pgcli.rollout.types import Rollout, Transitions

NUM_STEPS, NUM_ENVS = 7, 3


def case(recurrent: bool, **changes: Any) -> tuple[Policy, Any, Transitions]:
    spec = spec_of(DISCRETE)
    policy = gated_policy(spec) if recurrent else linear_policy(spec)
    params = quick_jit(policy.init)(jax.random.key(0))
    carry = policy.initial_carry(NUM_ENVS)
    transitions = random_transitions(DISCRETE, 8, NUM_STEPS, NUM_ENVS, carry)
    return policy, params, transitions.replace(**changes)


def by_hand(policy: Policy, params: Any, transitions: Transitions) -> dict[str, Any]:
    """Every step on its own: V(s_t), V(s'_t), log π(a_t), in plain loops."""
    apply = quick_jit(policy.apply)
    where = {int(i): c for c, i in enumerate(transitions.final_index)}
    carry, obs, start = transitions.first_carry, transitions.obs, transitions.start
    shape = transitions.reward.shape
    out = {name: np.zeros(shape) for name in ("value", "next_value", "logp")}
    on = np.zeros(shape[1], bool)
    for t in range(shape[0]):
        carry, dist, value = apply(params, carry, obs[t], start[t])
        out["value"][t] = value
        out["logp"][t] = dist.log_prob(jnp.asarray(transitions.action[t]))
        _, _, out["next_value"][t] = apply(params, carry, obs[t + 1], start[t + 1])
        for n in range(shape[1]):
            if transitions.terminated[t, n]:
                out["next_value"][t, n] = 0
            elif transitions.truncated[t, n]:
                final = np.stack([transitions.final_obs[where[t * shape[1] + n]]] * 3)
                out["next_value"][t, n] = apply(params, carry, final, on)[2][n]
    return out


@pytest.fixture(scope="module", params=[False, True], ids=["flat", "recurrent"])
def completed(request: pytest.FixtureRequest) -> tuple:
    policy, params, transitions = case(request.param)
    rollout = random_rollout(policy, params, transitions)
    return policy, params, transitions, rollout


def test_complete_agrees_with_plain_loops(completed: tuple) -> None:
    policy, params, transitions, rollout = completed
    for name, exact in by_hand(policy, params, transitions).items():
        np.testing.assert_allclose(
            getattr(rollout, name), exact, atol=1e-5, err_msg=name
        )


def test_next_value_case_has_more_final_observations_than_one_block(
    completed: tuple,
) -> None:
    # they are evaluated N at a time, and the last block sticks out
    transitions = completed[2]
    used = (transitions.final_index < NUM_STEPS * NUM_ENVS).sum()
    cut = (transitions.truncated & ~transitions.terminated).sum()
    assert used == cut > NUM_ENVS
    assert len(transitions.final_index) % NUM_ENVS != 0
    assert transitions.terminated.any()


def test_next_value_is_zero_where_terminated(completed: tuple) -> None:
    _, _, transitions, rollout = completed
    assert (np.asarray(rollout.next_value)[transitions.terminated] == 0).all()


def test_revalue_gives_v_of_the_new_parameters_everywhere(completed: tuple) -> None:
    policy, _, transitions, rollout = completed
    other = quick_jit(policy.init)(jax.random.key(9))
    found = quick_jit(lambda p, r: revalue(policy, p, r))(other, rollout)
    exact = by_hand(policy, other, transitions)
    np.testing.assert_allclose(found.value, exact["value"], atol=1e-5)
    np.testing.assert_allclose(found.next_value, exact["next_value"], atol=1e-5)
    np.testing.assert_array_equal(found.logp, rollout.logp)


def test_next_value_of_a_policy_without_truncations_needs_no_buffer() -> None:
    shape = NUM_STEPS, NUM_ENVS
    policy, params, transitions = case(
        recurrent=False,
        truncated=np.zeros(shape, bool),
        final_obs=np.zeros((0, 2), np.float32),
        final_index=np.zeros(0, np.int32),
    )
    start = np.ones((NUM_STEPS + 1, NUM_ENVS), bool)
    start[1:] = transitions.terminated
    transitions = transitions.replace(start=start)
    rollout = random_rollout(policy, params, transitions)
    exact = by_hand(policy, params, transitions)
    np.testing.assert_allclose(rollout.next_value, exact["next_value"], atol=1e-6)


@pytest.mark.parametrize("unused", [0, 1, 5])
def test_next_value_does_not_depend_on_the_size_of_the_buffer(unused: int) -> None:
    policy, params, transitions = case(recurrent=False)
    cut = (transitions.truncated & ~transitions.terminated).sum()
    index = np.full(cut + unused, NUM_STEPS * NUM_ENVS, np.int32)
    index[:cut] = transitions.final_index[:cut]
    obs = np.full((cut + unused, 2), 99, np.float32)
    obs[:cut] = transitions.final_obs[:cut]
    found = random_rollout(
        policy, params, transitions.replace(final_obs=obs, final_index=index)
    )
    expected = random_rollout(policy, params, transitions)
    np.testing.assert_array_equal(found.next_value, expected.next_value)


def test_complete_normalises_s_and_next_s_alike() -> None:
    policy, params, transitions = case(recurrent=False)
    mean, std = np.float32([0.5, -1]), np.float32([2, 0.5])
    stats = ObsStats(*map(jnp.asarray, (np.uint32([0, 9]), mean, std**2, 1.5)))

    def scaled(obs: np.ndarray) -> np.ndarray:
        return np.clip((obs - mean) / std, -1.5, 1.5)

    found: Rollout = random_rollout(policy, params, transitions, stats)
    expected = by_hand(
        policy,
        params,
        transitions.replace(
            obs=scaled(transitions.obs), final_obs=scaled(transitions.final_obs)
        ),
    )
    np.testing.assert_allclose(found.next_value, expected["next_value"], atol=1e-5)
    np.testing.assert_allclose(found.value, expected["value"], atol=1e-5)
    np.testing.assert_allclose(found.obs, scaled(transitions.obs[:-1]), atol=1e-5)


def test_complete_scores_the_unclipped_action() -> None:
    spec = spec_of(CONTINUOUS)
    policy = linear_policy(spec)
    params = quick_jit(policy.init)(jax.random.key(0))
    transitions = random_transitions(CONTINUOUS, 0, NUM_STEPS, NUM_ENVS)
    action = 3 * transitions.action  # many lie beyond the bounds ±1
    found = random_rollout(policy, params, transitions.replace(action=action))
    exact = by_hand(policy, params, transitions.replace(action=action))
    np.testing.assert_allclose(found.logp, exact["logp"], rtol=1e-5)
    np.testing.assert_array_equal(found.action, action)
