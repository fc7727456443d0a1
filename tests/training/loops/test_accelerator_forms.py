"""Training in the form that it has on accelerators, computed on the CPU."""

from typing import Any

import jax
import numpy as np
import pytest
from support.shared_loops import ENV, advance, params
from support.small_runs import config

from pgcli.algos import ALGORITHMS
from pgcli.arrays import sample_blocks
from pgcli.config.schema import RunConfig
from pgcli.envs.make import make_device_env
from pgcli.training.loops.device_loop import DeviceLoop
from pgcli.training.members.device_members import DeviceMembers


def trained(make: Any, cfg: RunConfig) -> Any:
    loop = make(cfg, make_device_env(cfg.env))
    return [row["return_mean"] for row in advance(loop, 3)], params(loop)


@pytest.mark.slow
@pytest.mark.parametrize("algo", ALGORITHMS)
@pytest.mark.parametrize("make", [DeviceLoop, DeviceMembers])
def test_training_in_the_form_for_accelerators_is_that_of_the_cpu(
    algo: str, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = ("seeds=3",) if make is DeviceMembers else ()
    cfg = config(ENV, *sets, algo=algo)
    with monkeypatch.context() as here:
        here.setattr(sample_blocks, "BLOCK", 8)  # several blocks, members in groups
        cpu = trained(make, cfg)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(jax, "default_backend", lambda: "gpu")
        other = trained(make, cfg)
    np.testing.assert_array_equal(cpu[0], other[0])  # the same episodes
    # sums in another order; Adam divides small gradients by their size
    np.testing.assert_allclose(cpu[1], other[1], rtol=1e-3, atol=1e-4)
