"""What only several keys together show: divisibility, names from other registries."""

import math
from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from pgcli.config.document import KeyPath
from pgcli.config.schema import RunConfig

SINKS = ("tensorboard", "csv")  # a test compares it with the registry of loggers
SHARDS = 8
SEARCH = 10_000  # how far to look for a number that would divide

Complaint = tuple[Sequence[KeyPath], str, str | None]
"""The keys to blame, what is wrong with them together, and what to do."""

_SHARDS = ("parallel", "shards")
_BATCH = (("algo", "num_minibatches"), ("env", "num_envs"), ("rollout", "num_steps"))


def default_shards(config: RunConfig) -> int:
    """Rows that the batch is kept in unless the configuration says how many."""
    return math.gcd(config.env.num_envs, SHARDS)


def complaints(config: RunConfig) -> Iterator[Complaint]:
    """What several keys together make impossible, each key being fine alone."""
    yield from _batch_complaints(config)
    for index, sink in enumerate(config.log.sinks):
        if sink not in SINKS:
            near = get_close_matches(sink, SINKS, 1)
            help = (
                f"did you mean `{near[0]}`?"
                if near
                else f"there are {', '.join(SINKS)}"
            )
            yield (
                [("log", "sinks", index)],
                f"`log.sinks[{index}]`: no logger `{sink}`",
                help,
            )
    if config.env.vectorizer == "native" and config.env.id.startswith("func:"):
        message = (
            f"`env.vectorizer: native` is for host environments; `{config.env.id}` "
            "runs on the device"
        )
        help = (
            f"remove `env.vectorizer`, or use `{config.env.id.removeprefix('func:')}`"
        )
        yield [("env", "vectorizer"), ("env", "id")], message, help


def _batch_complaints(config: RunConfig) -> Iterator[Complaint]:
    """Does the batch divide into minibatches, and into shards of minibatches?"""
    num_envs, num_steps = config.env.num_envs, config.rollout.num_steps
    batch = num_envs * num_steps
    count: int | None = getattr(config.algo, "num_minibatches", None)
    size = f"num_envs ({num_envs}) × num_steps ({num_steps}) = {batch}"
    if count is not None and batch % count:
        help = f"set `algo.num_minibatches` to {_near_divisors(batch, count)}"
        yield _BATCH, f"{size} is not divisible by num_minibatches ({count})", help
        return
    shards = config.parallel.shards
    asked = shards is not None
    if shards is None:
        shards = default_shards(config)
    if num_envs % shards:
        help = f"set `parallel.shards` to {_near_divisors(num_envs, shards)}"
        message = (
            f"num_envs ({num_envs}) is not divisible by parallel.shards ({shards})"
        )
        yield [_SHARDS, ("env", "num_envs")], message, help
    elif count is not None and (batch // shards) % count:
        fits = next(
            s
            for s in range(min(shards, SEARCH), 0, -1)
            if num_envs % s == 0 and (batch // s) % count == 0
        )
        source = "" if asked else f", which follows from num_envs ({num_envs}),"
        message = (
            f"{size} in parallel.shards ({shards}){source} is {batch // shards} each, "
            f"not divisible by num_minibatches ({count})"
        )
        yield [_SHARDS, *_BATCH], message, f"set `parallel.shards` to {fits}"


def _near_divisors(number: int, near: int) -> str:
    """The divisors of a number on both sides of another, in words."""
    start = min(near, number)
    downwards = range(start, max(0, start - SEARCH), -1)
    upwards = range(near + 1, min(number, near + SEARCH) + 1)
    below = next((d for d in downwards if number % d == 0), 1)
    above = next((d for d in upwards if number % d == 0), None)
    return f"{below}" if above is None else f"{below} or {above}"
