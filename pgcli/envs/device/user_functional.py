"""On-device environments of user modules: `func:NAME` with `--env-module my_pkg`.

NAME is an attribute of a named module: a `gymnasium.experimental.functional.FuncEnv`,
class or instance. `env.kwargs` are arguments of its constructor, or fields of
`get_default_params()`. The time limit is `env.max_episode_steps`, or the environment's
own attribute of that name.
"""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any

from pgcli.envs import user_modules
from pgcli.envs.base import DeviceEnv
from pgcli.envs.failures import PASSED, in_words
from pgcli.errors import EnvironmentFailed, UsageError
from pgcli.suggest import did_you_mean


def functional_envs() -> dict[str, Any]:
    """The functional environments of every named module, by attribute.

    Imported ones are included, except the base class.
    """
    if not user_modules.NAMED:
        return {}
    from gymnasium.experimental.functional import FuncEnv

    def is_one(value: Any) -> bool:
        return isinstance(value, FuncEnv) or (
            isinstance(value, type)
            and issubclass(value, FuncEnv)
            and value is not FuncEnv
        )

    return {
        name: value
        for module in user_modules.named().values()
        for name, value in vars(module).items()
        if is_one(value) and not name.startswith("_")
    }


def names() -> list[str]:
    """Names of user modules that can follow `func:`."""
    return sorted(functional_envs())


def make_users(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `func:NAME` of a user module.

    `kwargs` are arguments of its constructor, or fields of its parameters.

    Raises:
      UsageError: `kwargs` does not fit, or it has no time limit.
      EnvironmentFailed: its constructor failed, or JAX cannot trace its functions.
    """
    env_id = f"func:{name}"
    func, params = _built(functional_envs()[name], kwargs, env_id)
    limit = max_episode_steps or getattr(func, "max_episode_steps", None)
    if limit is None:
        raise UsageError(
            "an on-device environment needs a time limit",
            where=f"environment {env_id}",
            help="--set env.max_episode_steps=500, or an attribute `max_episode_steps` "
            "of the class",
        )
    return _traced(env_id, func, params, int(limit))


def _built(given: Any, kwargs: Mapping[str, Any], env_id: str) -> tuple[Any, Any]:
    """(environment, its parameters or None) with the keyword arguments applied."""
    # arguments of the constructor, if it is a class
    func, taken = given, set()
    if isinstance(given, type):
        signature = inspect.signature(given).parameters
        taken = {key for key in kwargs if key in signature}
        try:
            func = given(**{key: kwargs[key] for key in taken})
        except PASSED:
            raise
        except BaseException as error:
            raise _failed("could not be made", error, env_id) from error
    # all others must be fields of its parameters
    params = func.get_default_params()
    fields = _fields(params)
    chosen = {key: value for key, value in kwargs.items() if key not in taken}
    for key in chosen:
        if key not in fields:
            known = [*fields, *(signature if func is not given else ())]
            otherwise = f"it has {', '.join(known) or 'no parameters'}"
            raise UsageError(
                f"env.kwargs does not fit: there is no `{key}`",
                where=f"environment {env_id}",
                help=did_you_mean(key, known, otherwise),
            )
    return func, _replaced(params, chosen)


def _fields(params: Any) -> list[str]:
    """Names of the fields of a mapping, a dataclass or a named tuple."""
    if isinstance(params, Mapping):
        return list(params)
    if dataclasses.is_dataclass(params):
        return [field.name for field in dataclasses.fields(params)]
    return list(getattr(params, "_fields", ()))


def _replaced(params: Any, chosen: Mapping[str, Any]) -> Any:
    """The parameters with some fields replaced."""
    if not chosen:
        return params
    if isinstance(params, Mapping):
        return {**params, **chosen}
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        return dataclasses.replace(params, **chosen)
    return params._replace(**chosen)


def _traced(env_id: str, func: Any, params: Any, limit: int) -> DeviceEnv:
    """The environment, after JAX has traced a reset and a step of it."""
    from pgcli.envs.device.contract import check_contract
    from pgcli.envs.device.func_env import from_func_env

    # `when` names the part that was being traced
    when = "its first state"
    try:
        env = from_func_env(env_id, func, params, limit)
        when = "a step"
        check_contract(env)
    except PASSED:
        raise
    except BaseException as error:
        raise _failed(f"JAX cannot trace {when}", error, env_id) from error
    return env


def _failed(what: str, error: BaseException, env_id: str) -> EnvironmentFailed:
    # only the first line: JAX's messages are long
    first = str(error).strip().splitlines()[:1]
    reason = f"{type(error).__name__}: {first[0]}" if first else in_words(error)
    return EnvironmentFailed(
        f"{what}: {reason}",
        where=f"environment {env_id}",
        help="its functions must be pure and use jax.numpy, with jnp.where in place of "
        "`if` on values; `pgcli envs check` shows the line",
    )
