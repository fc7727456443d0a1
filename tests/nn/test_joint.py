"""Compound actions: independent parts whose probabilities multiply."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from support.toys import quick_jit

from pgcli.config.schema import NetworkConfig
from pgcli.envs.base import Box, Discrete, EnvSpec, MultiBinary
from pgcli.errors import EnvironmentFailed, UsageError
from pgcli.nn.distributions import Bernoulli, Categorical, DiagGaussian, Distribution
from pgcli.nn.heads import make_head
from pgcli.nn.joint import Joint

LOGITS = np.array([[0.3, -1.2, 2.0], [0.0, 5.0, -5.0]], np.float32)
BITS = np.array([[0.7, -2.0], [3.0, 0.1]], np.float32)
MEAN, LOG_STD = np.float32([[0.5, -1.0]] * 2), np.float32([[-0.7, 0.4]] * 2)
JOINT = Joint(
    {
        "gear": Categorical(LOGITS),
        "aim/0": DiagGaussian(MEAN, LOG_STD),
        "aim/1": Bernoulli(BITS),
    }
)
OTHER = Joint(
    {
        "gear": Categorical(LOGITS[::-1] / 2),
        "aim/0": DiagGaussian(MEAN + 0.3, LOG_STD / 2),
        "aim/1": Bernoulli(BITS[::-1] / 2),
    }
)


@quick_jit
def facts(dist: Joint, other: Joint, action: Any) -> dict[str, Any]:
    return {
        "log_prob": dist.log_prob(action),
        "entropy": dist.entropy(),
        "kl": dist.kl(other),
        "mode": dist.mode(),
        "sample": dist.sample(dist.noise(jax.random.key(0), (2,))),
    }


def test_log_prob_of_parts_adds_up_as_in_scipy() -> None:
    action = {
        "gear": np.int32([2, 0]),
        "aim/0": np.float32([[0.1, 2.0], [-4.0, 3.0]]),
        "aim/1": np.int32([[1, 0], [0, 1]]),
    }
    found = facts(JOINT, OTHER, action)
    exact = special.log_softmax(LOGITS, -1)[[0, 1], [2, 0]]
    exact = exact + stats.norm.logpdf(action["aim/0"], MEAN, np.exp(LOG_STD)).sum(-1)
    exact += stats.bernoulli.logpmf(action["aim/1"], special.expit(BITS)).sum(-1)
    np.testing.assert_allclose(found["log_prob"], exact, rtol=1e-5)
    assert isinstance(JOINT, Distribution)
    assert {name: x.shape for name, x in found["sample"].items()} == {
        name: x.shape for name, x in action.items()
    }
    np.testing.assert_array_equal(found["mode"]["gear"], LOGITS.argmax(-1))


def test_entropy_and_kl_agree_with_enumeration_of_the_discrete_parts() -> None:
    # every action of three gears and two bits: p = Π, H = −Σ p log p, KL = Σ p log p/q
    parts = [{k: x for k, x in d.parts.items() if k != "aim/0"} for d in (JOINT, OTHER)]
    dist, other = map(Joint, parts)
    actions = list(itertools.product(range(3), range(2), range(2)))

    @quick_jit
    def table(dist: Joint, rows: Any) -> Any:
        def of(row: Any) -> Any:
            gear = jnp.broadcast_to(row[0], (2,))
            bits = jnp.broadcast_to(row[None, 1:], (2, 2))
            return dist.log_prob({"gear": gear, "aim/1": bits})

        return jax.vmap(of)(rows)

    logp, logq = (np.asarray(table(d, np.int32(actions)), float) for d in (dist, other))
    p = np.exp(logp)
    found = quick_jit(lambda d, o: (d.entropy(), d.kl(o)))(dist, other)
    np.testing.assert_allclose(p.sum(0), 1, atol=1e-5)
    np.testing.assert_allclose(found[0], -(p * logp).sum(0), atol=1e-5)
    np.testing.assert_allclose(found[1], (p * (logp - logq)).sum(0), atol=1e-5)


def test_parts_of_a_mask_are_in_the_order_of_names_without_boxes() -> None:
    # of each row: two pairs (may be 0, may be 1) for the bits, then three gears
    mask = jnp.int32([[1, 0, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 1, 1]])
    mode = quick_jit(lambda dist: dist.masked(mask).mode())(JOINT)
    np.testing.assert_array_equal(mode["gear"], [0, 1])
    np.testing.assert_array_equal(mode["aim/1"], [[0, 0], [1, 0]])
    np.testing.assert_array_equal(mode["aim/0"], MEAN)


def test_parts_of_a_head_read_outputs_of_their_own() -> None:
    space = {
        "b": MultiBinary((2,)),
        "a/1": Discrete(3, 1),
        "a/0": Box((2,), "float32", -1, 1),
    }
    spec = EnvSpec("toy", Box((1,), "float32", 0, 1), space)
    head = make_head(spec, NetworkConfig(log_std_init=-1.0))
    assert (head.num_outputs, head.num_log_std) == (2 + 3 + 2, 2)
    assert head.log_std_init == -1
    parts = head.make_dist(jnp.arange(7.0), jnp.array([-1.0, 1.0])).parts
    np.testing.assert_array_equal(parts["a/0"].mean, [0, 1])
    np.testing.assert_array_equal(parts["a/0"].log_std, [-1, 1])
    np.testing.assert_array_equal(parts["a/1"].logits, [2, 3, 4])
    np.testing.assert_array_equal(parts["b"].logits, [5, 6])


@pytest.mark.parametrize(
    ("box", "network", "message"),
    [
        (Box((1,), "float32", -np.inf, 1.0), {}, "`go` of toy range from -inf to 1"),
        (Box((1,), "float32", 1.0, 1.0), {}, "`go` of toy range from 1 to 1"),
        (Discrete(2), {}, "squashed_gaussian: the actions of toy are not continuous"),
        (Discrete(2), {"log_std": "state"}, "and network.log_std: state"),
    ],
)
def test_distribution_that_does_not_fit_the_actions_is_a_usage_error(
    box: Any, network: Any, message: str
) -> None:
    spec = EnvSpec("toy", Discrete(2), {"go": box, "gear": Discrete(2)})
    config = NetworkConfig(distribution="squashed_gaussian", **network)
    with pytest.raises(UsageError, match=message):
        make_head(spec, config)


def test_integers_in_a_part_are_refused_by_name() -> None:
    space = {"go": Box((1,), "float32", 0.0, 9.0), "gear": Discrete(2)}
    spec = EnvSpec("toy", Discrete(2), space, None, {"go": "int64", "gear": "int64"})
    with pytest.raises(EnvironmentFailed, match="Box `go` of int64"):
        make_head(spec, NetworkConfig())
