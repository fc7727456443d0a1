"""The algorithms: pure updates, one file each, and the mathematics they share.

An update takes a `Rollout` and never sees an environment. May import `pgcli.rollout`,
`pgcli.nn`, `pgcli.arrays` and the data classes of `pgcli.config`.
"""

from collections.abc import Callable

from pgcli.algos.a2c import a2c
from pgcli.algos.base import Algorithm
from pgcli.algos.is_pg import is_pg
from pgcli.algos.npg import npg
from pgcli.algos.ppo1 import ppo1
from pgcli.algos.ppo2 import ppo2
from pgcli.algos.reinforce import reinforce, reinforce_baseline, reward_to_go_algorithm
from pgcli.algos.trpo import trpo
from pgcli.nn.policy import Policy

ALGORITHMS: dict[str, Callable[[Policy], Algorithm]] = {
    "reinforce": reinforce,
    "reinforce-baseline": reinforce_baseline,
    "reward-to-go": reward_to_go_algorithm,
    "a2c": a2c,
    "is-pg": is_pg,
    "npg": npg,
    "trpo": trpo,
    "ppo1": ppo1,
    "ppo2": ppo2,
}
