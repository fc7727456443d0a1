"""Random numbers of several iterations are those of one iteration after the other."""

from contextlib import closing

import jax
import numpy as np
import pytest
from support.small_runs import config

from pgcli.training.loops.host_draws import HostDraws
from pgcli.training.loops.host_loop import HostLoop


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", pytest.param("Pendulum-v1", marks=pytest.mark.slow)]
)
def test_draws_are_those_of_single_iterations(env_id: str) -> None:
    with closing(HostLoop(config(env_id, algo="a2c"))) as loop:
        assert isinstance(loop._draw, HostDraws)
        noise_of = loop._make_collector()._noise
        # the first of a call, its last, and iterations out of order as after a resume
        for iteration in (0, 1, 63, 64, 130, 2):
            (key, noise), words = loop._draw(iteration)
            (collect_key,), update_key = loop._draw_keys(iteration)
            assert key is None
            np.testing.assert_array_equal(noise, noise_of(collect_key))
            np.testing.assert_array_equal(words, jax.random.key_data(update_key))
