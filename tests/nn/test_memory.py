"""Recurrent layers against their equations, and policies that have one."""

from functools import cache, partial
from typing import Any

import jax
import numpy as np
import pytest
from support.toys import CONTINUOUS, quick_jit, spec_of

from pgcli.config.schema import NetworkConfig
from pgcli.nn.memory import CELLS
from pgcli.nn.policy import make_policy, unroll

KINDS = sorted(CELLS)
T, N, M = 6, 3, 5


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def reference(kind: str, params: Any, state: list, x: np.ndarray) -> list:
    """One step in float64, gate by gate, as the papers write it."""
    width = params["recurrent"].shape[0]
    gates = params["recurrent"].shape[1] // width

    def split(y: Any) -> list[np.ndarray]:
        return np.split(np.asarray(y, np.float64), gates, axis=-1)

    from_x = split(x @ params["inputs"]["kernel"] + params["inputs"]["bias"])
    from_h = split(state[0] @ params["recurrent"] + params["bias"])
    if kind == "gru":
        reset = sigmoid(from_x[0] + from_h[0])
        keep = sigmoid(from_x[1] + from_h[1])
        new = np.tanh(from_x[2] + reset * from_h[2])
        return [(1 - keep) * new + keep * state[0]]
    enter, keep, out, new = (a + b for a, b in zip(from_x, from_h, strict=True))
    cell = sigmoid(keep) * state[1] + sigmoid(enter) * np.tanh(new)
    return [sigmoid(out) * np.tanh(cell), cell]


@cache
def begun(kind: str, shared: bool = False) -> tuple:
    """(policy, its initial parameters as NumPy arrays)."""
    network = NetworkConfig(hidden=(4,), memory=kind, memory_size=M, shared=shared)
    policy = make_policy(spec_of(CONTINUOUS), network)
    return policy, jax.device_get(quick_jit(policy.init)(jax.random.key(0)))


@cache
def made(kind: str, shared: bool = False) -> tuple:
    """(policy, parameters, obs [T, N], start [T, N]) with random biases as well."""
    policy, params = begun(kind, shared)
    drawn = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: x + np.float32(0.1 * drawn.normal(size=x.shape)), params
    )
    obs = drawn.normal(size=(T, N, 2)).astype(np.float32)
    start = np.zeros((T, N), bool)
    start[0] = start[3, 1] = True
    return policy, params, obs, start


@pytest.mark.parametrize("kind", KINDS)
def test_sequences_follow_the_equations_and_reset_at_starts(kind: str) -> None:
    policy, params, obs, start = made(kind)
    # a state that the first start must remove
    first = jax.tree.map(lambda x: x + 0.7, policy.initial_carry(N))
    seen = quick_jit(partial(unroll, policy))(params, first, obs, start)
    arrays = params
    for torso in ("policy", "value"):
        layer, memory = arrays[torso]["Dense_0"], arrays[f"{torso}_memory"]
        state = [np.full((N, M), 0.7) for _ in range(CELLS[kind].parts)]
        for t in range(T):
            state = [np.where(start[t][:, None], 0.0, part) for part in state]
            x = np.tanh(obs[t] @ layer["kernel"] + layer["bias"])
            state = reference(kind, memory, state, x)
            for found, expected in zip(seen.carry[torso], state, strict=True):
                np.testing.assert_allclose(found[t], expected, atol=1e-5)
        head = arrays[f"{torso}_head"]
        output = state[0] @ head["kernel"] + head["bias"]
        found = seen.dist.mean[-1] if torso == "policy" else seen.value[-1][:, None]
        np.testing.assert_allclose(found, output, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True], ids=["separate", "shared"])
def test_steps_one_by_one_give_what_the_sequence_gives(kind: str, shared: bool) -> None:
    policy, params, obs, start = made(kind, shared)
    carry = policy.initial_carry(N)
    assert policy.recurrent
    assert set(carry) == ({"policy"} if shared else {"policy", "value"})
    seen = quick_jit(partial(unroll, policy))(params, carry, obs, start)
    one_step = quick_jit(policy.apply)
    for t in range(T):
        carry, dist, value = one_step(params, carry, obs[t], start[t])
        np.testing.assert_allclose(seen.dist.mean[t], dist.mean, atol=1e-6)
        np.testing.assert_allclose(seen.value[t], value, atol=1e-6)
    for found, expected in zip(
        jax.tree.leaves(seen.carry), jax.tree.leaves(carry), strict=True
    ):
        np.testing.assert_allclose(found[-1], expected, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_memory_begins_with_orthogonal_gates_and_biases_of_zero(kind: str) -> None:
    memory = begun(kind)[1]["policy_memory"]
    for gate in np.split(np.asarray(memory["recurrent"]), CELLS[kind].gates, axis=1):
        np.testing.assert_allclose(gate @ gate.T, np.eye(M), atol=1e-5)
    assert not np.any(memory["bias"])
    assert not np.any(memory["inputs"]["bias"])
