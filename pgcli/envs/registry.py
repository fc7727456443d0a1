"""Which environment an id means, and what must be installed for it."""

import importlib
import importlib.util
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pgcli import versions
from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.base import DeviceEnv, HostEnv
from pgcli.envs.failures import CAUGHT, failed
from pgcli.envs.host.mujoco_warnings import quiet_mujoco
from pgcli.errors import PgcliError, UsageError
from pgcli.suggest import did_you_mean, similar


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
    from pgcli.envs.device.functional import make_functional

    return make_functional(name, kwargs, limit)


def functional_names() -> list[str]:
    """What `func:` can be followed by: ours, and those of modules named by the user."""
    from pgcli.envs.device.user_functional import names

    return ["CartPole-v1", "Pendulum-v1", *names()]


def _from_library(adapter: str, extra: str, module: str) -> Backend:
    """The back end in `pgcli.envs.device.ADAPTER`, imported when it is asked."""

    def load() -> Any:
        return importlib.import_module(f"pgcli.envs.device.{adapter}")

    return Backend(
        lambda name, kwargs, limit: load().make(name, kwargs, limit),
        lambda: load().names(),
        extra,
        module,
    )


DEVICE_BACKENDS: dict[str, Backend] = {
    "func": Backend(_make_functional, functional_names),
    "gymnax": _from_library("gymnax", "gymnax", "gymnax"),
    "brax": _from_library("brax", "brax", "brax"),
    "playground": _from_library("playground", "playground", "mujoco_playground"),
    "xminigrid": _from_library("xminigrid", "xminigrid", "xminigrid"),
    "pgx": _from_library("pgx", "pgx", "pgx"),
}

EXTRAS: dict[str, tuple[str, str]] = {
    "box2d": ("box2d", "Box2D"),
    "mujoco": ("mujoco", "mujoco"),
    "ale": ("atari", "ale_py"),
    "minigrid": ("minigrid", "minigrid"),
}
"""Where a registered environment's code lives -> (our extra, module it needs)."""

REGISTERED_BY: dict[str, str] = {
    "ALE/": "ale_py",
    "MiniGrid-": "minigrid",
    "BabyAI-": "minigrid",
}
"""How ids begin that a package registers only once it is imported -> that package."""


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
      UsageError: its back end has no such environment, or is not installed.
      EnvironmentFailed: the library failed while it was being made.
    """
    prefix, name = config.id.split(":", 1)
    backend = DEVICE_BACKENDS[prefix]
    if not backend.installed:
        raise not_installed(config.id, str(backend.extra))
    if config.wrappers:
        raise UsageError(
            f"`env.wrappers` is for host environments; `{config.id}` runs on the device"
        )
    if name not in backend.names():
        raise unknown_env(config.id)
    try:
        return backend.make(name, config.kwargs, config.max_episode_steps)
    except PgcliError:
        raise
    except Exception as error:
        raise unusable(config.id, error) from error


def make_host_env(config: EnvConfig, num_envs: int, seeds: list[int]) -> HostEnv:
    """`num_envs` Gymnasium environments, environment n seeded with `seeds[n]`.

    `config.workers` may name the fastest way to step them, which is then measured;
    what they return does not depend on it.

    Raises:
      UsageError: no such environment, or its package is missing.
      EnvironmentFailed: the environment could not be made.
    """
    from pgcli.envs.host import atari
    from pgcli.envs.host.in_process import InProcess
    from pgcli.envs.host.native_vector import NativeVector
    from pgcli.envs.workers.parallel_stepping import Lanes
    from pgcli.envs.workers.worker_count import choose_workers

    if config.id.startswith("envpool:"):
        if importlib.util.find_spec("envpool") is None:
            raise not_installed(config.id, "envpool")
        from pgcli.envs.host.envpool import make_envpool

        return make_envpool(config, num_envs, seeds)
    if config.stepped == "native":
        if atari.preprocessed(config):
            return atari.make_vector(config, num_envs, seeds)
        return NativeVector.make(config, num_envs, seeds)
    workers = choose_workers(config, num_envs)
    if workers == 0:
        return InProcess.make(config, seeds)
    return Lanes.make(config, seeds, workers)


def helpers_of(env: HostEnv) -> str:
    """Who steps environments beside this process, in words; empty for nobody."""
    return str(getattr(env, "helpers", ""))


def list_envs(filter: str = "") -> list[EnvRow]:
    """Every environment that an id can name, on-device first; `filter` in the id."""
    import gymnasium

    user_modules.named()
    rows = [
        EnvRow(f"{prefix}:{name}", "device", backend.extra, backend.installed)
        for prefix, backend in DEVICE_BACKENDS.items()
        for name in backend.names()
    ]
    for prefix, package in REGISTERED_BY.items():
        if importlib.util.find_spec(package):
            importlib.import_module(package)
        else:
            rows.append(EnvRow(f"{prefix}…", "host", extra_of(package), False))
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


def extra_of(package: str) -> str | None:
    """The extra of ours that brings a package."""
    return {module: extra for extra, module in EXTRAS.values()}.get(package)


def close_to(env_id: str, known: list[str]) -> str:
    """What to write instead of an id that is not known."""
    otherwise = (
        "`pgcli envs` lists what there is; for one of your own, name the module that "
        "registers it: --env-module my_pkg"
    )
    return did_you_mean(env_id, known, otherwise, count=3)


def unknown_env(env_id: str) -> UsageError:
    """What to tell a user whose environment id is not known."""
    packages = [p for key, p in REGISTERED_BY.items() if env_id.startswith(key)]
    if packages and not importlib.util.find_spec(packages[0]):
        extra = extra_of(packages[0])
        help = f"it needs an extra: pip install 'pgcli-jax[{extra}]'"
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
    """One Gymnasium environment in its wrappers, its time limit set.

    Raises:
      UsageError: unknown id, missing package (named, with the extra), bad kwargs or
        wrappers, or a module that is not named on the command line.
      EnvironmentFailed: its constructor failed otherwise.
    """
    import gymnasium

    from pgcli.envs.host import atari
    from pgcli.envs.host.wrappers import wrap

    name = registered_name(config.id)
    limit = (
        {}
        if config.max_episode_steps is None
        else {"max_episode_steps": config.max_episode_steps}
    )
    if atari.preprocessed(config):
        return wrap(atari.make_single(config), config, name)
    extra, installed = needed_extra(_entry_point(name))
    try:
        with quiet_mujoco(extra == "mujoco" and installed):
            env = gymnasium.make(
                name, disable_env_checker=True, **limit, **config.kwargs
            )
    except (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound):
        raise unknown_env(config.id) from None
    except gymnasium.error.VersionNotFound as error:
        raise UsageError(
            f"unknown environment `{config.id}`", help=str(error)
        ) from None
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.Error) as error:
        if extra and not installed:
            raise not_installed(config.id, extra) from None
        raise unusable(config.id, error) from error
    except TypeError as error:
        if not config.kwargs:
            raise unusable(config.id, error) from error
        raise unfit_kwargs(config, _entry_point(name), error) from error
    except CAUGHT as error:
        raise unusable(config.id, error) from error
    return wrap(env, config, name)


def registered_name(env_id: str) -> str:
    """The name that Gymnasium knows an id by, whoever registers it being imported.

    Raises:
      UsageError: the id names a module that the command line does not.
    """
    import gymnasium

    if env_id.partition(":")[0] in DEVICE_BACKENDS:  # `func:X` is none of Gymnasium's
        raise unknown_env(env_id)
    if ":" in env_id:  # listing device environments may import JAX: only if needed
        ours = [f"{p}:{name}" for p, b in DEVICE_BACKENDS.items() for name in b.names()]
        if similar(env_id, ours, cutoff=0.85):
            raise unknown_env(env_id)  # a prefix of ours, mistyped
    module, name = user_modules.split(env_id)
    user_modules.named()
    for prefix, package in REGISTERED_BY.items():
        if name.startswith(prefix):
            if importlib.util.find_spec(package) is None:
                raise unknown_env(env_id)
            importlib.import_module(package)
    if module is not None and name not in gymnasium.registry:
        raise _not_of_module(env_id, module, name)
    return name


def _not_of_module(env_id: str, module: str, name: str) -> UsageError:
    import gymnasium

    own = [
        spec.id
        for spec in gymnasium.registry.values()
        if str(getattr(spec.entry_point, "__module__", spec.entry_point)).startswith(
            module
        )
    ]
    close = similar(name, own)
    if name in functional_names():
        help = f"it is a functional environment: `func:{name}`"
    elif close:
        help = f"did you mean `{module}:{close[0]}`?"
    elif own:
        help = f"it registers {', '.join(own)}"
    else:
        help = "it must call `gymnasium.register(id=…, entry_point=…)` when imported"
    return UsageError(
        f"unknown environment `{env_id}`: `{module}` registers no `{name}`", help=help
    )


def _entry_point(env_id: str) -> Any:
    import gymnasium

    spec = gymnasium.registry.get(env_id)
    return spec.entry_point if spec is not None else ""


def unfit_kwargs(config: EnvConfig, entry_point: Any, error: TypeError) -> UsageError:
    """Keyword arguments that an environment's constructor did not take."""
    from gymnasium.envs.registration import load_env_creator

    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else None
    parameters = inspect.signature(creator or entry_point).parameters.values()
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, 1)]
    wrong = [key for key in config.kwargs if key not in known]
    help = f"it takes {', '.join(known)}" if known else "it takes none"
    if wrong:
        help = did_you_mean(wrong[0], known, help)
    reason = str(error).partition(versions.GYMNASIUM_CREATOR)[0]
    reason = reason.partition(versions.PYTHON_HINT)[0]
    return UsageError(
        f"env.kwargs does not fit: {reason}",
        where=f"environment {config.id}",
        help=help,
    )


def unusable(env_id: str, error: BaseException) -> PgcliError:
    """An environment whose own code failed while it was being made."""
    return failed("could not be made", f"environment {env_id}", error)
