"""Networks of the user: Flax modules of the modules given with `--network-module`.

A network is a class `class MyNet(flax.linen.Module)` whose instances map observations
[B, …] to features [B, n]. It is made without arguments, except for the fields `config`
(the `NetworkConfig`) and `obs_space` if it declares them.
"""

import dataclasses
import sys
import traceback
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from pgcli.arrays import random_keys
from pgcli.arrays.shapes import Array
from pgcli.config.schema import NetworkConfig, is_own_network
from pgcli.envs import user_modules
from pgcli.envs.base import ObsSpace, Space
from pgcli.errors import PgcliError, UsageError
from pgcli.suggest import did_you_mean


def own_names(config: NetworkConfig) -> list[str]:
    """Names of the user's networks in a configuration."""
    names = (config.torso, *config.encoders.values())
    return [name for name in dict.fromkeys(names) if is_own_network(name)]


def modules_of(config: NetworkConfig) -> list[str]:
    """The modules of the user's networks in a configuration."""
    return [find_network(name)[0] for name in own_names(config)]


def find_network(name: str) -> tuple[str, type[nn.Module]]:
    """(module, class) of `MyNet` or `my_net:MyNet`, from `--network-module`.

    Raises:
      UsageError: there is no such class in those modules, or a module fails.
    """
    module, _, cls = name.rpartition(":")
    modules = user_modules.named(user_modules.NETWORK)
    if not modules or (module and module not in modules):
        module = module or "MODULE"
        raise UsageError(
            f"the network `{name}` is a class of a module that is not named",
            help=f"if you trust it, name it: --network-module {module}, or in Python "
            f"pgcli.use_network_modules(['{module}'])",
        )
    homes = {module: modules[module]} if module else modules
    for key, home in homes.items():
        if _is_network(getattr(home, cls, None)):
            return key, getattr(home, cls)
    names = [
        key for x in homes.values() for key in vars(x) if _is_network(vars(x)[key])
    ]
    otherwise = f"there are {', '.join(names)}" if names else "there are none"
    raise UsageError(
        f"there is no network `{cls}`: no subclass of flax.linen.Module of that name",
        where=", ".join(str(home.__file__) for home in homes.values()),
        help=did_you_mean(cls, names, otherwise),
    )


def _is_network(value: Any) -> bool:
    is_class = isinstance(value, type) and issubclass(value, nn.Module)
    return is_class and value is not nn.Module


def own_features(name: str, config: NetworkConfig, space: ObsSpace, obs: Any) -> Array:
    """Features [*batch, n] of observations by a user's network.

    The network gets one batch axis [B, …]. Must be called in a module's compact method:
    the network becomes its child `network`.
    """
    _, cls = find_network(name)
    fields = {field.name for field in dataclasses.fields(cls)}
    given = {"config": config, "obs_space": space}
    module = cls(**{k: v for k, v in given.items() if k in fields}, name="network")

    # [*batch, …] -> [B, …]
    parts = {"": space} if isinstance(space, Space) else dict(space)
    whole = {"": obs} if isinstance(space, Space) else obs
    key, part = next(iter(parts.items()))
    batch = whole[key].shape[: whole[key].ndim - len(part.shape)]
    flat = {key: whole[key].reshape(-1, *part.shape) for key, part in parts.items()}
    # JAX's default promotion rules for code that is not ours
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        features = module(flat[""] if isinstance(space, Space) else flat)
    size = flat[key].shape[0]
    if not hasattr(features, "shape") or features.shape[:-1] != (size,):
        actual = getattr(features, "shape", type(features).__name__)
        raise UsageError(
            f"the network `{name}` returns {actual} for observations [{size}, …]",
            help=f"return features [B, n], here with B = {size}",
        )
    if not jnp.issubdtype(features.dtype, jnp.floating):
        raise UsageError(
            f"the network `{name}` returns {features.dtype}", help="return floats"
        )
    shaped: Array = features.reshape(*batch, features.shape[-1])
    return shaped


def check_networks(config: NetworkConfig, network: nn.Module, arguments: Any) -> None:
    """Traces a network that contains a user's.

    Args:
      config: its configuration.
      network: the whole network.
      arguments: arguments of its call.

    Raises:
      UsageError: the user's network raises, or has a state besides its parameters.
    """
    named = " and ".join(f"`{name}`" for name in own_names(config))
    files = {sys.modules[module].__file__ for module in modules_of(config)}

    def init_and_apply(key: Array) -> Any:
        variables = network.init(key, *arguments)
        network.apply(variables, *arguments, mutable=True)
        return variables

    try:
        found = jax.eval_shape(init_and_apply, random_keys.key(0))
    except (PgcliError, KeyboardInterrupt):
        raise
    except BaseException as error:
        first = str(error).strip().splitlines()[:1]
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f"{x.filename}:{x.lineno}" for x in frames if x.filename in files]
        raise UsageError(
            f"the network {named} failed: {type(error).__name__}"
            + (f": {first[0]}" if first else ""),
            where=lines[-1] if lines else None,
            help="it is called with observations [B, …] and returns features [B, n]",
            trace="".join(traceback.format_exception(error)),
        ) from None
    if extra := sorted(set(found) - {"params"}):
        raise UsageError(
            f"the network {named} has a state besides its parameters: "
            + ", ".join(extra),
            help="only parameters are trained and stored: replace BatchNorm by "
            "LayerNorm, for example",
        )
