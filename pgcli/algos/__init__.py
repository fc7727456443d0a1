"""The ladder of algorithms: pure updates, one file each."""

from collections.abc import Callable

from pgcli.algos.a2c import a2c
from pgcli.algos.base import Algorithm
from pgcli.algos.ppo2 import ppo2
from pgcli.nn.policy import Policy

ALGORITHMS: dict[str, Callable[[Policy, int], Algorithm]] = {"a2c": a2c, "ppo2": ppo2}
