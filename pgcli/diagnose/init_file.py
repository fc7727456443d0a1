"""`pgcli init`: a commented configuration for one environment, after measuring it."""

from collections.abc import Iterator, Mapping
from typing import Any

from pgcli.config.dump import flow, rows_of, to_mapping
from pgcli.config.load import Resolved
from pgcli.config.schema import RunConfig
from pgcli.config.source import preset_list
from pgcli.diagnose.host_env_check import Speed, measure_host, spec_of
from pgcli.envs.base import EnvSpec
from pgcli.envs.failures import failed
from pgcli.envs.host.env_factory import EnvFactory, env_factory
from pgcli.envs.make import make_device_env
from pgcli.training.backend import layout
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.evaluation.fit import describe

MOST_SECONDS = 3600.0
"""Time for the environments' steps that a chosen budget takes at most."""

LIMIT = 1000
"""Time limit for environments that have none."""

COMMENTS: Mapping[str, str] = {
    "algo.gamma": "discount; 0.999 if rewards come hundreds of steps later",
    "algo.gae_lambda": "0 relies on the value function, 1 on the returns",
    "algo.num_epochs": "passes over each batch",
    "algo.num_minibatches": "{batch:,} / {num_minibatches:,} = {size:,} samples each",
    "algo.entropy_coef": "0.01 keeps exploring if rewards are rare",
    "env.num_envs": "more give larger batches, and work for several cores",
    "rollout.num_steps": "{num_envs:,} × {num_steps:,} = {batch:,} samples per update",
    "rollout.episodes_per_env": "episodes per environment and update",
    "optimizer.lr": "the first number to tune",
    "optimizer.schedule": "linear falls to 0 at the end of the budget",
    "network.torso": "for {kind}",
    "network.hidden": "widths of the hidden layers",
    "normalize.obs": "subtract the mean, divide by the standard deviation",
    "normalize.reward": "scaled for learning only; logged returns stay as they are",
    "steps": "budget",
}
"""Keys that the file has in any case if the algorithm has them, with comments."""


@in_32_bits()
def draft(resolved: Resolved, seconds: float, command: str) -> dict[str, Any]:
    """The text of the file, which names `command`, and the facts it was chosen by.

    Returns:
      `text, env, algo, preset, spaces, observations, actions, time_limit, steps,
      speed {step_us, reset_us, steps_per_second}`.

    Raises:
      UsageError: the environment is unknown or not installed.
      EnvironmentFailed: it cannot be made, or fails.
    """
    # one environment: its spaces and its speed
    config = resolved.config
    if config.env.on_device:
        from pgcli.diagnose.device_env_check import measure_device

        layout.start(config)
        env = make_device_env(config.env)
        spec, speed = env.spec, measure_device(env, config.env.num_envs, seconds)
    else:
        factory = env_factory(config.env)
        spec, speed = spec_of(factory), _measured(factory, seconds)

    # the budget, unless a preset has one; then the file
    rate = 1e6 / speed.step
    if resolved.preset is None:
        config = config.with_values({"steps": affordable(config.steps, rate)})
    head = [*_head(config, spec, speed), f"# train with it  {command}", "#"]
    text = _from_preset(resolved, spec) or _from_values(config, resolved, spec)
    return {
        "text": "\n".join([*head, text]),
        "env": config.env.id,
        "algo": config.algo.name,
        "preset": resolved.preset,
        "spaces": resolved.spaces,
        "observations": describe(spec.obs),
        "actions": describe(spec.action),
        "time_limit": spec.max_episode_steps,
        "steps": config.steps,
        "speed": speed.rounded(),
    }


def _measured(factory: EnvFactory, seconds: float) -> Speed:
    """`measure_host`, with exceptions of the environment as errors that name it."""
    try:
        return measure_host(factory, seconds)
    except BaseException as error:
        where = f"environment {factory.id}"
        failure = failed("it failed with random actions", where, error)
        failure.help = failure.help or f"pgcli envs check {factory.id}"
        raise failure from error


def affordable(steps: int, rate: float) -> int:
    """A budget that takes `MOST_SECONDS` at `rate` steps/s at most, to one digit."""
    most = max(10_000, int(rate * MOST_SECONDS))
    digits = len(str(most)) - 1
    return min(steps, most // int(10**digits) * int(10**digits))


def _head(config: RunConfig, spec: EnvSpec, speed: Speed) -> Iterator[str]:
    """Lines about the environment."""
    count = config.env.num_envs if config.env.on_device else 1
    where = f"{count:,} environment{'s' if count > 1 else ''}"
    rate, limit, steps = 1e6 / speed.step, spec.max_episode_steps, config.steps
    yield f"# {config.env.id}, by `pgcli init`"
    yield f"# observations   {describe(spec.obs)}"
    yield f"# actions        {describe(spec.action)}"
    yield f"# time limit     {'none' if limit is None else f'{limit:,} steps'}"
    yield (
        f"# measured       {rate:,.0f} steps/s, {where}: {duration(steps / rate)} for "
        f"{steps:,} steps, without learning"
    )


def duration(seconds: float) -> str:
    """A duration in words, to one unit."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(1, seconds):.0f} s"


def _from_preset(resolved: Resolved, spec: EnvSpec) -> str | None:
    """The preset with the environment's arguments; None if it cannot express them."""
    env = resolved.config.env
    if resolved.preset is None:
        return None
    text = preset_list.text_of(f"{resolved.config.algo.name}/{env.id}").text
    changed = resolved.origins["env.kwargs"] != f"preset {resolved.preset}"
    own = dict(env.kwargs) if changed else {}
    if own and "\n  kwargs:" in text:
        return None
    lines = [f"  id: {flow(env.id)}"]
    lines += [f"  kwargs: {flow(own)}"] if own else []
    lines += _limit(spec)
    return text.replace(lines[0], "\n".join(lines), 1)


def _limit(spec: EnvSpec) -> list[str]:
    if spec.max_episode_steps is not None:
        return []
    return [f"  max_episode_steps: {LIMIT}  # it has no time limit of its own"]


def _from_values(config: RunConfig, resolved: Resolved, spec: EnvSpec) -> str:
    """The keys that are not defaults, and those of `COMMENTS`."""
    batch = config.env.num_envs * config.rollout.num_steps
    facts = {
        "batch": batch,
        "num_envs": config.env.num_envs,
        "num_steps": config.rollout.num_steps,
        "num_minibatches": config.algo.num_minibatches,
        "size": batch // config.algo.num_minibatches,
        "kind": resolved.spaces or "these observations",
    }
    lines = list[str]()
    for path, line in rows_of(to_mapping(config)):
        origin = resolved.origins.get(path, "")
        chosen = not origin.startswith(("default of", "derived")) and (
            origin not in ("default", "")
        )
        if "." not in path and path not in resolved.origins:
            lines.append(line)  # a section
        elif path in COMMENTS or chosen or path in ("algo.name", "env.id"):
            line = f"steps: {config.steps:_}" if path == "steps" else line
            comment = COMMENTS.get(path, "").format_map(facts)
            lines.append(f"{line:30} # {comment}" if comment else line)
        if path == "env.id":
            lines += _limit(spec)
    # without sections that have no keys
    kept = [
        line
        for line, after in zip(lines, [*lines[1:], ""], strict=True)
        if not line.endswith(":") or after.startswith(" ")
    ]
    return "\n".join([*kept, ""])
