"""Random streams: one per role and global environment index, disjoint by construction.

Training, selection (the periodic evaluation that picks `best`) and reporting (the
final evaluation and `pgcli eval`) never share a stream, nor do two run seeds.
"""

from typing import Literal

import jax
import numpy as np

from pgcli.arrays.shapes import Array

Role = Literal["init", "train", "selection", "reporting"]
ROLES: dict[Role, int] = {"init": 0, "train": 1, "selection": 2, "reporting": 3}


def role_key(seed: int, role: Role) -> Array:
    """The JAX key of a role in a run."""
    return jax.random.fold_in(jax.random.key(np.uint32(seed)), ROLES[role])


def env_seeds(seed: int, role: Role, num_envs: int, episode_set: int = 0) -> list[int]:
    """One seed per host environment, below 2³¹ so that every library takes it.

    Args:
      seed: the run's seed.
      role: what the environments are for.
      num_envs: how many.
      episode_set: what tells repeated starts of the same run apart: the iteration
        that it goes on from.
    """
    return [
        int(
            np.random.SeedSequence(
                seed, spawn_key=(ROLES[role], episode_set, n)
            ).generate_state(1)[0]
            >> 1
        )
        for n in range(num_envs)
    ]
