"""Which environment an id means, and what must be installed for it."""

import difflib
import importlib
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pgcli.config.schema import EnvConfig
from pgcli.envs.base import DeviceEnv, HostEnv
from pgcli.errors import EnvironmentFailed, UsageError


class Backend(NamedTuple):
    """On-device environments of one library, found by the prefix of their ids."""

    make: Callable[[str, Mapping[str, Any], int | None], DeviceEnv]
    """(name, kwargs, max_episode_steps) -> environment."""
    names: Callable[[], list[str]]
    extra: str | None = None
    """What to install for it; None: it comes with the core."""
    module: str | None = None
    """The module that it then has."""

    @property
    def installed(self) -> bool:
        """Whether its library is there."""
        return self.module is None or importlib.util.find_spec(self.module) is not None


def _make_functional(
    name: str, kwargs: Mapping[str, Any], limit: int | None
) -> DeviceEnv:
    from pgcli.envs.functional import make_functional

    return make_functional(name, kwargs, limit)


def _make_gymnax(name: str, kwargs: Mapping[str, Any], limit: int | None) -> DeviceEnv:
    from pgcli.envs.gymnax import make_gymnax

    return make_gymnax(name, kwargs, limit)


def _gymnax_names() -> list[str]:
    from pgcli.envs.gymnax import names

    return names()


DEVICE_BACKENDS: dict[str, Backend] = {
    "func": Backend(_make_functional, lambda: ["CartPole-v1", "Pendulum-v1"]),
    "gymnax": Backend(_make_gymnax, _gymnax_names, "gymnax", "gymnax"),
}

EXTRAS: dict[str, tuple[str, str]] = {
    "box2d": ("box2d", "Box2D"),
    "mujoco": ("mujoco", "mujoco"),
    "ale": ("atari", "ale_py"),
}
"""Where a registered environment's code lives -> (our extra, module it needs)."""


class EnvRow(NamedTuple):
    """One line of `pgcli envs`."""

    id: str
    backend: str
    extra: str | None
    installed: bool


def on_device(env_id: str) -> bool:
    """Whether the id names an on-device environment, by its prefix."""
    return ":" in env_id and env_id.split(":", 1)[0] in DEVICE_BACKENDS


def make_device_env(config: EnvConfig) -> DeviceEnv:
    """The on-device environment that `config.id` names.

    Raises:
      UsageError: its back end has no such environment.
    """
    prefix, name = config.id.split(":", 1)
    backend = DEVICE_BACKENDS[prefix]
    if not backend.installed:
        raise not_installed(config.id, str(backend.extra))
    if name not in backend.names():
        raise unknown_env(config.id)
    return backend.make(name, config.kwargs, config.max_episode_steps)


def make_host_env(config: EnvConfig, num_envs: int, seeds: list[int]) -> HostEnv:
    """`num_envs` Gymnasium environments, environment n seeded with `seeds[n]`.

    Raises:
      UsageError: no such environment, or its package is missing.
      EnvironmentFailed: the environment could not be made.
    """
    from pgcli.envs import atari
    from pgcli.envs.native import NativeVector
    from pgcli.envs.vectorize import InProcess

    if config.id.startswith("envpool:"):
        if importlib.util.find_spec("envpool") is None:
            raise not_installed(config.id, "envpool")
        from pgcli.envs.envpool import make_envpool

        return make_envpool(config, num_envs, seeds)
    if config.stepped == "native":
        if atari.preprocessed(config):
            return atari.make_vector(config, num_envs, seeds)
        return NativeVector.make(config, num_envs, seeds)
    return InProcess.make(config, seeds)


def list_envs(filter: str = "") -> list[EnvRow]:
    """Every environment that an id can name, on-device first; `filter` in the id."""
    import gymnasium

    rows = [
        EnvRow(f"{prefix}:{name}", "device", backend.extra, backend.installed)
        for prefix, backend in DEVICE_BACKENDS.items()
        for name in backend.names()
    ]
    if importlib.util.find_spec("ale_py"):
        gymnasium.register_envs(importlib.import_module("ale_py"))
    else:
        rows.append(EnvRow("ALE/…-v5", "host", "atari", False))
    pool = importlib.util.find_spec("envpool") is not None
    rows.append(EnvRow("envpool:…", "host", "envpool", pool))
    for spec in gymnasium.registry.values():
        extra, installed = needed_extra(spec.entry_point)
        rows.append(EnvRow(spec.id, "host", extra, installed))
    return [row for row in rows if filter.lower() in row.id.lower()]


def needed_extra(entry_point: Any) -> tuple[str | None, bool]:
    """(the extra that an environment's code needs or None, whether it is there)."""
    for part in str(entry_point).split(":")[0].split("."):
        extra, module = EXTRAS.get(part, (None, ""))
        if extra:
            return extra, importlib.util.find_spec(module) is not None
    return None, True


def register_atari(env_id: str) -> None:
    """Makes Gymnasium know the games of ale_py.

    Raises:
      UsageError: it is not installed, or has no such game.
    """
    import gymnasium

    if importlib.util.find_spec("ale_py") is None:
        raise unknown_env(env_id)
    gymnasium.register_envs(importlib.import_module("ale_py"))
    if env_id not in gymnasium.registry:
        raise unknown_env(env_id)


def close_to(env_id: str, known: list[str]) -> str:
    """What to write instead of an id that is not known."""
    close = difflib.get_close_matches(env_id, known, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(f"`{name}`" for name in close) + "?"
    return "`pgcli envs` lists what there is"


def unknown_env(env_id: str) -> UsageError:
    """What to tell a user whose environment id is not known."""
    if env_id.startswith("ALE/") and importlib.util.find_spec("ale_py") is None:
        help = "Atari needs an extra: pip install 'pgcli-jax[atari]'"
    else:
        help = close_to(env_id, [row.id for row in list_envs()])
    return UsageError(f"unknown environment `{env_id}`", help=help)


def not_installed(env_id: str, extra: str) -> UsageError:
    """What to tell a user whose environment needs one of our extras."""
    return UsageError(
        f"environment `{env_id}` needs a package that is not installed",
        help=f"pip install 'pgcli-jax[{extra}]'",
    )


def make_gymnasium(config: EnvConfig) -> Any:
    """One Gymnasium environment, its time limit set.

    Raises:
      UsageError: unknown id, missing package (named, with the extra), bad kwargs.
      EnvironmentFailed: its constructor failed otherwise.
    """
    import gymnasium

    from pgcli.envs import atari

    if ":" in config.id:  # Gymnasium would import the module that is named there
        raise unknown_env(config.id)
    limit = (
        {}
        if config.max_episode_steps is None
        else {"max_episode_steps": config.max_episode_steps}
    )
    if atari.preprocessed(config):
        return atari.make_single(config)
    if config.id.startswith("ALE/"):
        register_atari(config.id)
    try:
        return gymnasium.make(
            config.id, disable_env_checker=True, **limit, **config.kwargs
        )
    except (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound):
        raise unknown_env(config.id) from None
    except gymnasium.error.VersionNotFound as error:
        raise UsageError(
            f"unknown environment `{config.id}`", help=str(error)
        ) from None
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.Error) as error:
        extra, installed = needed_extra(_entry_point(config.id))
        if extra and not installed:
            raise not_installed(config.id, extra) from None
        raise unusable(config.id, error) from error
    except TypeError as error:
        raise UsageError(f"env.kwargs does not fit {config.id}: {error}") from error
    except Exception as error:
        raise unusable(config.id, error) from error


def _entry_point(env_id: str) -> Any:
    import gymnasium

    spec = gymnasium.registry.get(env_id)
    return spec.entry_point if spec is not None else ""


def unusable(env_id: str, error: Exception) -> EnvironmentFailed:
    """An environment whose own code failed while it was being made."""
    return EnvironmentFailed(
        f"could not be made: {type(error).__name__}: {error}",
        where=f"environment {env_id}",
    )
