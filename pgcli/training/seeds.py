"""Random streams, one per role and global environment index, disjoint by construction.

Training, selection (the periodic evaluation that chooses the best checkpoint) and
reporting (the final evaluation and `pgcli eval`) never share a stream. Neither do two
seeds of runs.
"""

from typing import Literal

import numpy as np

from pgcli.arrays import random_keys
from pgcli.arrays.shapes import Array
from pgcli.errors import UsageError

Role = Literal["init", "train", "selection", "reporting"]
ROLES: dict[Role, int] = {"init": 0, "train": 1, "selection": 2, "reporting": 3}


def role_key(seed: int, role: Role, *numbers: int) -> Array:
    """The JAX key of a role in a run, with further numbers folded in.

    Raises:
      UsageError: the seed is not in the range of seeds.
    """
    if not 0 <= seed < 2**32:
        raise UsageError(f"seed {seed} is not between 0 and 2³² − 1")
    return random_keys.key(seed, ROLES[role], *numbers)


def env_seeds(seed: int, role: Role, num_envs: int, episode_set: int = 0) -> list[int]:
    """Seeds of the host environments, below 2³¹ so that every library accepts them.

    Args:
      seed: seed of the run.
      role: role of the environments.
      num_envs: number of environments.
      episode_set: iteration at which the run starts or resumes, so that repeated
        starts of a run have different seeds.
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
