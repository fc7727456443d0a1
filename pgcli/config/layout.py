"""How a run can be spread over devices: what the configuration alone determines."""

import math

from pgcli.config.schema import RunConfig

SHARDS = 8
"""Rows of the batch unless the number of environments forbids it."""

MANY = 10_000  # more devices than these are not searched for


def columns(config: RunConfig) -> int:
    """Environments of a rollout, or trajectories if whole episodes are collected."""
    episodes = config.algo.collects == "episodes"
    return config.env.num_envs * (config.rollout.episodes_per_env if episodes else 1)


def default_shards(config: RunConfig) -> int:
    """Rows of the batch unless the configuration gives their number."""
    count = columns(config)
    if config.network.memory is not None:  # minibatches are whole environments
        count = max(1, count // config.algo.num_minibatches)
    return math.gcd(count, SHARDS)


def minibatch_size(config: RunConfig) -> int:
    """Samples of one gradient step, if a fixed number of steps is collected."""
    batch = config.env.num_envs * config.rollout.num_steps
    return batch // config.algo.num_minibatches


def devices_in_use(config: RunConfig, limit: int) -> int:
    """How many of `limit` devices a run uses if it is spread over as many as it can be.

    Members on the host take turns on one device, and so does the learner of whole
    episodes. One run is split by the rows of its batch. Members on the device use the
    fewest devices on which they are done the soonest: the device that has the most
    decides. Of 9 members on at most 8 devices one device has 2, and 5 devices suffice
    for that.
    """
    if config.has_members:
        if not config.env.on_device:
            return 1
        most = -(-config.num_members // min(config.num_members, limit))
        return -(-config.num_members // most)
    if config.algo.collects == "episodes":
        return 1
    shards = config.parallel.shards or default_shards(config)
    if shards % limit == 0:
        return limit
    return next(d for d in range(min(shards, limit, MANY), 0, -1) if shards % d == 0)
