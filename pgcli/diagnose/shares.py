"""Shares of an iteration's time, the largest in words, and the settings to try."""

from collections.abc import Mapping

from pgcli.arrays.device_mesh import on_cpu
from pgcli.config.layout import minibatch_size
from pgcli.config.schema import RunConfig
from pgcli.training.backend.layout import cores, worthwhile_minibatch


def split(rates: Mapping[str, float]) -> dict[str, float]:
    """Shares of an iteration's time: stepping, acting, update and the rest.

    Parts that are slower alone than within an iteration are scaled to fill it.
    """
    # seconds per environment step of each part
    collection = 1 / rates["collection"]
    stepping = min(1 / rates["bare"], collection)
    parts = {
        "stepping": stepping,
        "acting": collection - stepping,
        "update": 1 / rates["update"],
    }
    # at least the sum of the parts, so that no share is negative
    whole = max(1 / rates["whole"], sum(parts.values()))
    shares = {name: part / whole for name, part in parts.items()}
    return {**shares, "rest": 1 - sum(shares.values())}


def bottleneck(shares: Mapping[str, float]) -> str:
    """The largest share of an iteration in words."""
    words = {
        "stepping": "stepping the environments",
        "acting": "acting: the policy's forward pass at every step, and storing",
        "update": "the update",
        "rest": "neither collection nor update: dispatch, logging, waiting",
    }
    name = _largest(shares)
    return f"{shares[name]:.0%} of an iteration is {words[name]}"


def advice(shares: Mapping[str, float], config: RunConfig, helpers: str) -> str:
    """Settings to try against the largest share of an iteration.

    Args:
      shares: result of `split`.
      config: configuration of the run.
      helpers: workers or threads that step the environments; empty for none.
    """
    name, more = _largest(shares), f"--set env.num_envs={4 * config.env.num_envs}"
    if name == "stepping" and not config.env.on_device:
        others = "--set host.vectorizer=native, EnvPool, or a device environment"
        if helpers:
            return f"{others}; {helpers} and this process step them now"
        return f"--set host.workers=2, --set host.workers=thread, {others}"
    if name in ("stepping", "acting"):
        return more
    if name == "rest":
        return f"{more}; `top` shows whether other processes use the cores"
    enough = worthwhile_minibatch(config)
    if minibatch_size(config) < enough:
        return f"minibatches of at least {enough:,} samples, for all cores"
    if config.env.num_envs % 2 and config.algo.collects == "steps" and _several_cores():
        return "an even env.num_envs: an odd number is computed by one CPU device"
    return "fewer algo.num_epochs, a smaller network.hidden"


def _several_cores() -> bool:
    return on_cpu() and cores() > 1


def _largest(shares: Mapping[str, float]) -> str:
    return max(shares, key=lambda name: shares[name])
