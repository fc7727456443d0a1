"""The registry: the environment of an id, and the packages that it needs."""

import importlib
import importlib.util
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from pgcli.config.schema import DEVICE_MODULES, EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.base import DeviceEnv
from pgcli.envs.device import user_functional
from pgcli.envs.device_names import DEVICE_NAMES
from pgcli.envs.failures import failed
from pgcli.envs.older_ids import is_older_atari, newest, older_atari
from pgcli.errors import PgcliError, UsageError
from pgcli.extras import pip_install
from pgcli.suggest import did_you_mean, similar


class Backend(NamedTuple):
    """On-device environments of one library, by an adapter in `pgcli.envs.device`."""

    adapter: str
    """The adapter's module."""
    extra: str | None
    """The extra that installs the library; None if it is part of the core."""
    module: str | None
    """The module of the library."""

    @property
    def installed(self) -> bool:
        """Whether its library is installed."""
        return self.module is None or importlib.util.find_spec(self.module) is not None

    def names(self) -> list[str]:
        """Names that can follow its prefix, without importing JAX."""
        own = user_functional.names() if self.module is None else []
        return [*DEVICE_NAMES[self.extra or "func"], *own]

    def make(
        self, name: str, kwargs: Mapping[str, Any], limit: int | None
    ) -> DeviceEnv:
        """An environment, one of `names`; `limit` is its time limit or None."""
        adapter = importlib.import_module(f"pgcli.envs.device.{self.adapter}")
        env: DeviceEnv = adapter.make(name, kwargs, limit)
        return env


DEVICE_BACKENDS: dict[str, Backend] = {
    prefix: Backend(
        "functional" if module is None else prefix, module and prefix, module
    )
    for prefix, module in DEVICE_MODULES.items()
}

EXTRAS: dict[str, tuple[str, str]] = {
    "box2d": ("box2d", "Box2D"),
    "mujoco": ("mujoco", "mujoco"),
    "ale": ("atari", "ale_py"),
    "minigrid": ("minigrid", "minigrid"),
}
"""Part of an entry point's module path -> (our extra, module that it needs)."""

REGISTERED_BY: dict[str, str] = {
    "ALE/": "ale_py",
    "MiniGrid-": "minigrid",
    "BabyAI-": "minigrid",
}
"""Prefix of an id -> the package that must be imported to register it."""


class EnvRow(NamedTuple):
    """One line of `pgcli envs`."""

    id: str
    backend: str
    extra: str | None
    installed: bool


def list_envs(filter: str = "") -> list[EnvRow]:
    """All environments whose id contains `filter`, on-device ones first."""
    import gymnasium

    # on-device environments of all back ends, installed or not
    user_modules.named()
    rows = [
        EnvRow(f"{prefix}:{name}", "device", backend.extra, backend.installed)
        for prefix, backend in DEVICE_BACKENDS.items()
        for name in backend.names()
    ]
    # packages that register on import; one row stands for all ids of a missing one
    for prefix, package in REGISTERED_BY.items():
        if importlib.util.find_spec(package):
            importlib.import_module(package)
        else:
            rows.append(EnvRow(f"{prefix}…", "host", extra_of(package), False))
    pool = importlib.util.find_spec("envpool") is not None
    rows.append(EnvRow("envpool:…", "host", "envpool", pool))
    # everything in Gymnasium's registry, with the extra that it needs
    for spec in [*gymnasium.registry.values()]:
        if is_older_atari(spec.id):
            continue
        extra, installed = needed_extra(spec.entry_point)
        rows.append(EnvRow(spec.id, "host", extra, installed))
    return [row for row in rows if filter.lower() in row.id.lower()]


def needed_extra(entry_point: Any) -> tuple[str | None, bool]:
    """(the extra that an environment's code needs or None, whether it is installed)."""
    for part in str(entry_point).split(":")[0].split("."):
        extra, module = EXTRAS.get(part, (None, ""))
        if extra:
            return extra, importlib.util.find_spec(module) is not None
    return None, True


def extra_of(package: str) -> str | None:
    """The extra that installs a package, or None."""
    return {module: extra for extra, module in EXTRAS.values()}.get(package)


def close_to(env_id: str, known: list[str]) -> str:
    """A suggestion for an unknown id."""
    otherwise = (
        "`pgcli envs` lists what there is; for one of your own, name the module that "
        "registers it: --env-module my_pkg"
    )
    return did_you_mean(env_id, known, otherwise, count=3)


def unknown_env(env_id: str) -> UsageError:
    """The error for an unknown environment id."""
    # the id may be unknown only because its package is not installed
    packages = [p for key, p in REGISTERED_BY.items() if env_id.startswith(key)]
    if packages and not importlib.util.find_spec(packages[0]):
        return not_installed(env_id, str(extra_of(packages[0])))
    help = close_to(env_id, _resembling(env_id) or [row.id for row in list_envs()])
    return UsageError(f"unknown environment `{env_id}`", help=help)


def _resembling(env_id: str) -> list[str]:
    """Ids close to an unknown one, of the back ends that need no import of JAX."""
    import gymnasium

    if ":" in env_id and not env_id.startswith("func:"):
        return []
    device = [f"func:{name}" for name in DEVICE_BACKENDS["func"].names()]
    return similar(env_id, [*device, *gymnasium.registry], count=3)


def not_installed(env_id: str, extra: str) -> UsageError:
    """The error for an environment whose extra is not installed."""
    return UsageError(
        f"environment `{env_id}` needs a package that is not installed",
        help=pip_install(extra),
    )


def not_passed_on(name: str, ours: str | None, reason: str) -> UsageError:
    """The error for a keyword argument that a key of ours sets, or nothing."""
    help = f"set {ours}" if ours else "leave it out"
    return UsageError(f"env.kwargs.{name} is not passed on{reason}", help=help)


def check(config: EnvConfig) -> None:
    """Raises a UsageError if an environment does not exist or is not installed."""
    if config.on_device:
        backend = DEVICE_BACKENDS[config.backend]
        if not backend.installed:
            raise not_installed(config.id, str(backend.extra))
        if config.id.partition(":")[2] not in backend.names():
            raise unknown_env(config.id)
    elif config.backend != "envpool":
        check_registered(config.id, registered_name(config))


def check_registered(env_id: str, name: str) -> None:
    """Raises a UsageError if Gymnasium knows no environment of this name."""
    import gymnasium

    # `full_id` says it in one line
    warnings.filterwarnings("ignore", r".*(Using the latest version|is out of date)")
    try:
        gymnasium.spec(name)
    except (gymnasium.error.NameNotFound, gymnasium.error.NamespaceNotFound):
        raise unknown_env(env_id) from None
    except (gymnasium.error.VersionNotFound, gymnasium.error.DeprecatedEnv):
        help = f"the newest version is {newest(name)}"
        raise UsageError(f"unknown environment `{env_id}`", help=help) from None
    except gymnasium.error.Error as error:
        # without a version, which `make` chooses, or no id at all
        if "Malformed" in str(error):
            help = "one id, such as CartPole-v1; several are trained by a run each"
            raise UsageError(f"unknown environment `{env_id}`", help=help) from None


def registered_name(config: EnvConfig) -> str:
    """The name of a host environment in Gymnasium, once its package is imported.

    Raises:
      UsageError: the id names a module that the command line does not.
    """
    import gymnasium

    env_id = config.id
    # a device id is not in Gymnasium's registry
    if config.on_device:
        raise unknown_env(env_id)
    # a mistyped prefix of a device back end; listing their ids may import JAX
    if ":" in env_id:
        ours = [f"{p}:{name}" for p, b in DEVICE_BACKENDS.items() for name in b.names()]
        if similar(env_id, ours, cutoff=0.85):
            raise unknown_env(env_id)
    # import everything that may register the name, then look it up
    module, name = user_modules.split(env_id)
    user_modules.named()
    if not import_package(name):
        raise unknown_env(env_id)
    if is_older_atari(name):
        raise older_atari(env_id, name)
    if module is not None and name not in gymnasium.registry:
        raise _not_of_module(env_id, module, name)
    if config.backend == "atari" and name not in gymnasium.registry:
        raise unknown_env(env_id)
    return name


def import_package(name: str) -> bool:
    """Imports the package that registers a name, if it is one of `REGISTERED_BY`.

    Returns:
      False if that package is not installed.
    """
    for prefix, package in REGISTERED_BY.items():
        if name.startswith(prefix):
            if importlib.util.find_spec(package) is None:
                return False
            importlib.import_module(package)
    return True


def _not_of_module(env_id: str, module: str, name: str) -> UsageError:
    """The error for an id whose module does not register the name."""
    import gymnasium

    # ids whose entry point is in the module
    own = [
        spec.id
        for spec in gymnasium.registry.values()
        if str(getattr(spec.entry_point, "__module__", spec.entry_point)).startswith(
            module
        )
    ]
    close = similar(name, own)
    if name in DEVICE_BACKENDS["func"].names():
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


def unusable(env_id: str, error: BaseException) -> PgcliError:
    """The error for an environment whose constructor raised."""
    return failed("could not be made", f"environment {env_id}", error)
