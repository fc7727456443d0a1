"""Checks of several keys together: divisibility, and names from registries."""

from collections.abc import Iterator
from typing import Any

from pgcli.config import env_wrappers
from pgcli.config.algorithms import ALGORITHM_CONFIGS, Complaint
from pgcli.config.bounds import ENVS, MAX_HOST_ENVS, MAX_INT32, MAX_LAYERS, MEMBERS
from pgcli.config.dump import flow
from pgcli.config.layout import columns, default_shards, devices_in_use
from pgcli.config.schema import TORSOS, RunConfig, is_own_network
from pgcli.suggest import did_you_mean

SINKS = (
    "tensorboard",
    "csv",
    "wandb",
    "mlflow",
)  # a test compares it with the registry of loggers
SEARCH = 10_000  # largest distance of a divisor that is suggested

_SHARDS = ("parallel", "shards")
_NUM_ENVS = ("env", "num_envs")
_EPISODES = ("rollout", "episodes_per_env")
_BATCH = (("algo", "num_minibatches"), _NUM_ENVS, ("rollout", "num_steps"))
_MEMORY = ("network", "memory")
IN_NUMPY: tuple[tuple[str, Any], ...] = (
    ("torso", "mlp"),
    ("encoders", {}),
    ("layer_norm", False),
    ("dtype", "float32"),
    ("memory", None),
)
"""Keys of `network` with the only values that the forward pass in NumPy has."""


def complaints(config: RunConfig) -> Iterator[Complaint]:
    """Contradictions between keys whose values are valid separately."""
    # sizes of the batch, and options of the algorithm
    if config.algo.collects == "episodes":
        yield from _trajectory_complaints(config)
    else:
        yield from _batch_complaints(config)
    yield from config.algo.complaints(columns(config))
    if config.algo.separate_policy_step and config.network.shared:
        message = (
            f"{config.algo.name} cannot share the torso: the policy step moves one "
            "network, Adam the other"
        )
        help = "set `network.shared` to false"
        yield [("network", "shared"), ("algo", "name")], message, help
    yield from _member_complaints(config)
    if len(config.network.hidden) > MAX_LAYERS:
        message = f"`network.hidden` has {len(config.network.hidden):,} layers"
        help = f"at most {MAX_LAYERS} are possible: each lengthens compilation"
        yield [("network", "hidden")], message, help

    yield from _network_complaints(config)

    # stops
    if config.patience is not None and config.eval.every == 0:
        message = "`patience` counts evaluations, and `eval.every` is 0"
        yield [("patience",), ("eval", "every")], message, "remove one of them"

    # loggers by name
    for index, sink in enumerate(config.log.sinks):
        if sink not in SINKS:
            help = did_you_mean(sink, SINKS, f"there are {', '.join(SINKS)}")
            yield (
                [("log", "sinks", index)],
                f"`log.sinks[{index}]`: no logger `{sink}`",
                help,
            )

    # environments and how they are stepped
    yield from _worker_complaints(config)
    yield from _life_complaints(config)
    yield from _environment_complaints(config)


def _network_complaints(config: RunConfig) -> Iterator[Complaint]:
    """Checks that networks exist, and that the forward pass in NumPy has them."""
    network = config.network
    named: list[tuple[tuple[str, ...], str]] = [(("network", "torso"), network.torso)]
    named += [(("network", "encoders", k), x) for k, x in network.encoders.items()]
    for path, name in named:
        if name not in TORSOS and not is_own_network(name):
            otherwise = (
                f"there are {', '.join(TORSOS)}; a class of your own begins with a "
                "capital letter"
            )
            message = f"`{'.'.join(path)}`: no network `{name}`"
            yield [path], message, did_you_mean(name, TORSOS, otherwise)
    if network.encoders and is_own_network(network.torso):
        message = f"`network.torso: {network.torso}` gets the whole observation"
        keys = [("network", "torso"), ("network", "encoders")]
        yield keys, message, "remove `network.encoders`, or set `network.torso` to mlp"
    if config.host.act == "numpy":
        for key, only in IN_NUMPY:
            value = getattr(network, key)
            if value != only:
                message = f"`host.act: numpy` has no network.{key} `{flow(value)}`"
                help = f"set `host.act` to jit, or `network.{key}` to {flow(only)}"
                yield [("host", "act"), ("network", key)], message, help


def _environment_complaints(config: RunConfig) -> Iterator[Complaint]:
    """Checks that vectoriser and wrappers exist and fit the kind of environment."""
    env, host = config.env, config.host
    id = ("env", "id")

    # options of host environments
    if config.env.on_device:
        helped = host.workers not in ("auto", 0)
        native = host.vectorizer == "native"
        for key, given, name in (
            (("host", "vectorizer"), native, "`host.vectorizer: native`"),
            (("host", "workers"), helped, f"`host.workers: {host.workers}`"),
            (("env", "wrappers"), env.wrappers, "`env.wrappers`"),
        ):
            if given:
                message = f"{name} is for host environments; `{env.id}` runs on the "
                yield [key, id], message + "device", f"remove `{'.'.join(key)}`"
        return

    # host environments: number, vectoriser, then wrappers
    if env.num_envs > MAX_HOST_ENVS:
        message = (
            f"num_envs ({env.num_envs:,}) of {env.id}, which steps on the host; at "
            f"most {MAX_HOST_ENVS:,} are possible"
        )
        yield [_NUM_ENVS, id], message, "each is an object of Python: lower it"
    if env.obs_keys and "native" in (host.vectorizer, env.default_vectorizer):
        message = "`env.obs_keys` is for environments that are stepped one by one"
        keys = [("env", "obs_keys"), ("host", "vectorizer"), id]
        yield keys, message, "remove it, or set `host.vectorizer` to in_process"
    if host.vectorizer == "in_process" and env.backend == "envpool":
        message = (
            "`host.vectorizer: in_process` steps environments that EnvPool does not"
        )
        help = f"remove `host.vectorizer`, or use `{env.id.removeprefix('envpool:')}`"
        yield [("host", "vectorizer"), id], message, help
    if not env.wrappers:
        return
    if env.backend == "envpool":
        message = f"`env.wrappers` is for environments of Gymnasium, not `{env.id}`"
        help = f"remove it, or use `{env.id.removeprefix('envpool:')}`"
        yield [("env", "wrappers"), id], message, help
    elif host.vectorizer == "native":
        message = "`env.wrappers` and `host.vectorizer: native` exclude each other"
        help = "remove `host.vectorizer`: native environments take no wrappers"
        yield [("env", "wrappers"), ("host", "vectorizer")], message, help
    for index, item in enumerate(env.wrappers):
        for message, remedy in env_wrappers.faults(item, f"env.wrappers[{index}]"):
            yield [("env", "wrappers", index)], message, remedy


def _worker_complaints(config: RunConfig) -> Iterator[Complaint]:
    """Checks that every worker has environments to step."""
    env, host = config.env, config.host
    keys = [("host", "workers"), ("host", "vectorizer")]
    if host.workers == "auto" or host.workers == 0 or env.on_device:
        return
    if host.vectorizer == "native":
        message = (
            f"`host.workers: {host.workers}` goes with `host.vectorizer: in_process`; "
            "a native vector environment steps itself"
        )
        yield keys, message, "remove one of the two"
    elif host.workers == "thread":
        if env.num_envs == 1:
            message = "`host.workers: thread` needs two environments or more"
            yield [keys[0], _NUM_ENVS], message, "raise `env.num_envs`"
    elif host.workers >= env.num_envs:
        message = (
            f"workers ({host.workers}) must be below num_envs ({env.num_envs}): this "
            "process steps a share itself"
        )
        most = env.num_envs - 1
        yield [keys[0], _NUM_ENVS], message, f"set `host.workers` to at most {most}"


def _life_complaints(config: RunConfig) -> Iterator[Complaint]:
    """Checks that lost lives are reported, and that the algorithm can use them."""
    if not config.rollout.end_on_life_loss:
        return
    if config.env.on_device:
        message = (
            f"`rollout.end_on_life_loss`: `{config.env.id}` runs on the device, which "
            "counts no lives"
        )
        keys = [("rollout", "end_on_life_loss"), ("env", "id")]
        yield keys, message, "remove it"
    if config.algo.collects == "episodes":
        message = (
            f"`rollout.end_on_life_loss` cuts the credit of steps, and "
            f"{config.algo.name} learns from whole episodes"
        )
        keys = [("rollout", "end_on_life_loss"), ("algo", "name")]
        algos = ALGORITHM_CONFIGS.items()
        fit = [name for name, algo in algos if algo.collects == "steps"]
        yield keys, message, f"remove it, or train one of {', '.join(fit)}"


def _trajectory_complaints(config: RunConfig) -> Iterator[Complaint]:
    """Checks that the trajectories divide into shards."""
    count, limit = columns(config), config.env.max_episode_steps
    if count > ENVS.value or count * (limit or 1) > MAX_INT32:
        message = (
            f"num_envs ({config.env.num_envs:,}) × episodes_per_env "
            f"({config.rollout.episodes_per_env:,}) = {count:,} trajectories"
            + (f" of up to {limit:,} steps" if limit else "")
            + f"; at most {ENVS.value:,}, with {MAX_INT32:,} steps in all, are possible"
        )
        yield [_NUM_ENVS, _EPISODES], message, "lower one of them"
        return
    size = f"num_envs ({config.env.num_envs})"
    if config.rollout.episodes_per_env > 1:
        size += f" × episodes_per_env ({config.rollout.episodes_per_env}) = {count}"
    shards = config.parallel.shards
    if shards is not None and count % shards:
        message = f"{size} is not divisible by parallel.shards ({shards})"
        help = f"set `parallel.shards` to {_near_divisors(count, shards)}"
        yield [_SHARDS, _NUM_ENVS, _EPISODES], message, help


def _batch_complaints(config: RunConfig) -> Iterator[Complaint]:
    """Checks that the batch and each of its shards divide into minibatches."""
    # minibatches of the batch [T · N]
    num_envs, num_steps = config.env.num_envs, config.rollout.num_steps
    batch = num_envs * num_steps
    if batch > MAX_INT32:
        message = (
            f"num_envs ({num_envs:,}) × num_steps ({num_steps:,}) = {batch:,} samples; "
            f"at most {MAX_INT32:,} are possible"
        )
        yield _BATCH[1:], message, "positions in a batch are 32-bit: lower one of them"
        return
    # what minibatches divide: samples, or whole environments if there is a memory
    count, keys, units = config.algo.num_minibatches, _BATCH, batch
    size = f"num_envs ({num_envs}) × num_steps ({num_steps}) = {batch}"
    if config.network.memory is not None:
        keys, units = (*_BATCH[:2], _MEMORY), num_envs
        size = f"with a memory, minibatches are environments: num_envs ({num_envs})"
    if units % count:
        help = f"set `algo.num_minibatches` to {_near_divisors(units, count)}"
        yield keys, f"{size} is not divisible by num_minibatches ({count})", help
        return

    # shards of the environments, and minibatches of each shard
    shards = config.parallel.shards
    is_set = shards is not None
    if shards is None:
        shards = default_shards(config)
    if num_envs % shards:
        help = f"set `parallel.shards` to {_near_divisors(num_envs, shards)}"
        message = (
            f"num_envs ({num_envs}) is not divisible by parallel.shards ({shards})"
        )
        yield [_SHARDS, _NUM_ENVS], message, help
    elif (units // shards) % count:
        fits = next(
            s
            for s in range(min(shards, SEARCH), 0, -1)
            if num_envs % s == 0 and (units // s) % count == 0
        )
        source = "" if is_set else f", which follows from num_envs ({num_envs}),"
        message = (
            f"{size} in parallel.shards ({shards}){source} is {units // shards} each, "
            f"not divisible by num_minibatches ({count})"
        )
        yield [_SHARDS, *keys], message, f"set `parallel.shards` to {fits}"


def _member_complaints(config: RunConfig) -> Iterator[Complaint]:
    """Checks that seeds are below 2³², and that every requested device is used."""
    # seeds
    if config.num_members > MEMBERS.value:
        message = (
            f"{config.num_members:,} members (seeds × combinations of the grid); at "
            f"most {MEMBERS.value:,} are possible"
        )
        yield [("seeds",), ("grid",)], message, "split them over several runs"
    last, devices = config.seed + config.seeds - 1, config.parallel.devices
    if last >= 2**32:
        message = f"the last of {config.seeds} seeds, {last}, is not below 2³²"
        yield [("seeds",), ("seed",)], message, "begin from a smaller `seed`"

    # devices: the reason why some would be idle
    if devices is None:
        return
    used = devices_in_use(config, devices)
    if used == devices:
        return
    keys = [("parallel", "devices")]
    help: str | None = f"set `parallel.devices` to {used}"
    if config.has_members and not config.env.on_device:
        message = (
            f"{devices} devices were asked for, and {config.env.id} steps on the host, "
            "where members take turns on one"
        )
        help = "leave out `parallel.devices`, or take an on-device environment"
    elif config.has_members:
        message = (
            f"{config.num_members} members are not faster on {devices} devices than "
            f"on {used}"
        )
    elif config.algo.collects == "episodes":
        message, help = f"{config.algo.name} trains on one device", None
        keys.append(("algo", "name"))
    else:
        count = config.parallel.shards or default_shards(config)
        message = (
            f"{count} rows of the batch (parallel.shards) cannot be split over "
            f"{devices} devices"
        )
        help = (
            "leave out `parallel.devices` to take as many as shorten the work, or set "
            f"it to {_near_divisors(count, devices)}"
        )
    yield keys, message, help


def _near_divisors(number: int, near: int) -> str:
    """The divisors of `number` next to `near`, below and above, as text."""
    start = min(near, number)
    downwards = range(start, max(0, start - SEARCH), -1)
    upwards = range(near + 1, min(number, near + SEARCH) + 1)
    below = next((d for d in downwards if number % d == 0), 1)
    above = next((d for d in upwards if number % d == 0), None)
    return f"{below}" if above is None else f"{below} or {above}"
