"""Arithmetic of programs counted by hand, and limits worked by hand."""

import jax
import jax.numpy as jnp
import pytest
from support.small_runs import config

from pgcli.diagnose.arithmetic import FUNCTIONS, PRODUCTS, of_kind, operations
from pgcli.diagnose.limits import _repeated, _sample, limits
from pgcli.diagnose.shares import advice

X, W1, W2 = jnp.ones((8, 3)), jnp.ones((3, 5)), jnp.ones((5, 2))


def loss(weights: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
    return jnp.sum(jnp.tanh(x @ weights[0]) @ weights[1])


def counted(function: object, *arguments: object) -> tuple[int, int]:
    parts = operations(jax.make_jaxpr(function)(*arguments))
    flops, functions = (
        sum(each.work for each in of_kind(parts, names))
        for names in (PRODUCTS, FUNCTIONS)
    )
    return flops, functions


def test_arithmetic_of_an_mlp_is_that_of_its_products_and_its_tanh() -> None:
    # forward 2·8·(3·5 + 5·2); backward both weights again, and the hidden layer's
    # gradient 2·8·5·2; 8·5 values of tanh
    forward = 2 * 8 * (15 + 10)
    assert counted(loss, (W1, W2), X) == (forward, 40)
    assert counted(jax.grad(loss), (W1, W2), X) == (
        # the loss itself is not needed for its gradient: its last product is left out
        2 * 8 * 15 + forward + 2 * 8 * 10,
        40,
    )


def test_arithmetic_counts_scans_by_length_and_the_larger_branch() -> None:
    def steps(x: jax.Array, flag: jax.Array) -> jax.Array:
        def step(x: jax.Array, _: None) -> tuple[jax.Array, None]:
            return jnp.exp(x @ jnp.ones((3, 3))), None

        x = jax.lax.scan(step, x, length=7)[0]
        return jax.lax.cond(flag, jnp.sin, lambda x: jnp.sin(jnp.log(x)), x)

    # 7 products of 8·3·3, and 8·3 values of each of 7 exp, one sin and one log
    assert counted(steps, X, jnp.array(True)) == (7 * 2 * 8 * 9, 24 * (7 + 2))


def test_arithmetic_of_a_convolution_is_window_times_channels() -> None:
    def conv(image: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(image, kernel, (1, 1), "VALID")

    # [N, in, 5, 5] by [out, in, 3, 3]: 3·3 outputs of 4 channels from 2·3·3 inputs
    shapes = jnp.ones((1, 2, 5, 5)), jnp.ones((4, 2, 3, 3))
    assert counted(conv, *shapes) == (2 * (4 * 9) * (2 * 9), 0)


def test_equal_operations_are_one_and_the_largest_is_first() -> None:
    parts = operations(jax.make_jaxpr(lambda x, w: (x @ w) @ w.T @ w)(X, W1))
    assert [each.times for each in parts] == [2, 1]
    assert parts[0].work == 2 * 2 * 8 * 15


def test_limits_are_worked_by_hand() -> None:
    # 100 steps need 2 s of products and 3 s of functions: 20 steps/s;
    # with 30 steps/s of stepping, 1/(1/20 + 1/30) = 12
    measured = {"flops": 10, "flops_per_second": 5}
    measured |= {"functions": 9, "functions_per_second": 3}
    rates = {"bare": 30.0, "collection": 15.0, "update": 9.0, "whole": 6.0}
    assert limits(measured, rates, 100) == {
        "stepping": {"steps_per_second": 30, "reached": 0.5},
        "arithmetic": {"steps_per_second": 20, "reached": 0.3},
        "both": {"steps_per_second": 12, "reached": 0.5},
    }


@pytest.mark.parametrize(
    ("largest", "env_id", "helpers", "setting"),
    [
        ("stepping", "CartPole-v1", "", "host.workers=2"),
        ("stepping", "CartPole-v1", "1 worker", "; 1 worker and"),
        ("stepping", "func:CartPole-v1", "", "env.num_envs="),
        ("acting", "CartPole-v1", "", "env.num_envs="),
        ("update", "CartPole-v1", "", "at least 1,024 samples"),
        ("rest", "CartPole-v1", "", "`top`"),
    ],
)
def test_advice_names_a_setting(
    largest: str, env_id: str, helpers: str, setting: str
) -> None:
    shares = dict.fromkeys(("stepping", "acting", "update", "rest"), 0.1)
    cfg = config(env_id, "network.hidden=[64,64]")
    assert setting in advice({**shares, largest: 0.7}, cfg, helpers)


def test_measured_operations_have_about_the_amount_of_work() -> None:
    batch, square = jnp.ones((1024, 64)), jnp.ones((64, 64))
    parts = operations(jax.make_jaxpr(lambda x, w: jnp.tanh(x @ w))(batch, square))
    product, function = (_repeated(part, 4e7) for part in parts)
    once = 2 * 1024 * 64 * 64
    assert product == (product.equation, [(1024, 64), (64, 64)], 5, 5 * once)
    # of a function, as many values as stay near the core
    assert function == (function.equation, [(2**14,)], 2441, 2441 * 2**14)
    # but never too few evaluations
    assert _repeated(parts[0], 1).work == 4 * once


@pytest.mark.parametrize("kind", [PRODUCTS, FUNCTIONS])
def test_measured_call_returns_the_work_of_all_its_evaluations(
    kind: frozenset[str],
) -> None:
    parts = operations(jax.make_jaxpr(lambda x, w: jnp.exp(jnp.tanh(x @ w)))(X, W1))
    chosen = of_kind(parts, kind)
    call = _sample(chosen, None, 1e4)
    assert call
    assert call() == sum(_repeated(each, 1e4 / len(chosen)).work for each in chosen)
    assert _sample([], None, 1e4) is None
