"""Upper bounds of the numeric keys, each with its reason.

A larger number would overflow, ask for more memory or processes than any machine has,
or begin a run that never ends. None of them limits a sensible run.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from annotated_types import Ge, GroupedMetadata, Le


@dataclass(frozen=True)
class AtMost(GroupedMetadata):
    """An upper bound of a number, and if `both_sides`, of its absolute value."""

    value: float
    reason: str
    both_sides: bool = False

    def __str__(self) -> str:
        """The bound as a number: 1,048,576, or 1e+09."""
        value = self.value
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"

    def __iter__(self) -> Iterator[object]:
        """The bounds as pydantic knows them."""
        yield Le(self.value)
        if self.both_sides:
            yield Ge(-self.value)


MAX_INT32 = 2**31 - 1
MAX_EPISODES = 10**6
MAX_HOST_ENVS = 2**14
MAX_SEED = 2**32 - 1
MAX_LAYERS = 64

STEPS = AtMost(2**53 - 1, "steps are counted exactly up to it")
INT32 = AtMost(MAX_INT32, "lengths, iterations and positions are 32-bit integers")
ENVS = AtMost(2**20, "each column of a rollout has a random stream and a state")
MEMBERS = AtMost(2**14, "each member has its own parameters, environments and rows")
EPISODES = AtMost(MAX_EPISODES, "more narrow the interval by less than 0.1 %")
WIDTH = AtMost(2**16, "two layers of this width have 4 billion parameters")
PASSES = AtMost(10_000, "one update would take hours, and no signal is answered in it")
MINIBATCHES = AtMost(2**20, "one update would take hours")
WORKERS = AtMost(1024, "each is a process, and operating systems limit their number")
DEVICES = AtMost(2**16, "no machine has more")
KEPT = AtMost(10_000, "the directory of checkpoints is listed at every save")
TIMEOUT = AtMost(7 * 86_400, "a week; timeouts of the operating system overflow")
LOG_STD = AtMost(20, "the variance must fit in float32", both_sides=True)
SECONDS = AtMost(1e9, "31 years")
REAL = AtMost(1e9, "squares and products must fit in float32")
RETURN = AtMost(1e9, "returns are computed in float32", both_sides=True)
