"""Construction of a registered environment, with pgcli's errors."""

import inspect
from collections.abc import Mapping
from typing import Any

from pgcli import versions
from pgcli.envs.host.mujoco_warnings import quiet_mujoco
from pgcli.envs.registry import check_registered, needed_extra, not_installed, unusable
from pgcli.errors import UsageError
from pgcli.suggest import did_you_mean


def make_registered(
    env_id: str, name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> Any:
    """A new environment with its time limit, without the configured wrappers.

    Raises:
      UsageError: unknown name, missing package (named, with the extra) or bad kwargs.
      EnvironmentFailed: its constructor failed otherwise.
    """
    import gymnasium

    check_registered(env_id, name)
    # the registered limit unless one is given; the extra of its package, for errors
    limit = (
        {} if max_episode_steps is None else {"max_episode_steps": max_episode_steps}
    )
    spec = gymnasium.registry.get(name)
    entry_point: Any = "" if spec is None else spec.entry_point
    extra, installed = needed_extra(entry_point)
    try:
        with quiet_mujoco(extra == "mujoco" and installed):
            return gymnasium.make(name, disable_env_checker=True, **limit, **kwargs)
    # a missing package, wrong arguments, or an error of its own
    except (gymnasium.error.UnregisteredEnv, gymnasium.error.Error) as error:
        if extra and not installed:
            raise not_installed(env_id, extra) from None
        raise unusable(env_id, error) from error
    except TypeError as error:
        if not kwargs:
            raise unusable(env_id, error) from error
        raise _unfit_kwargs(env_id, kwargs, entry_point, error) from error
    except BaseException as error:
        raise unusable(env_id, error) from error


def _unfit_kwargs(
    env_id: str, kwargs: Mapping[str, Any], entry_point: Any, error: TypeError
) -> UsageError:
    """The error for keyword arguments that the constructor rejected."""
    from gymnasium.envs.registration import load_env_creator

    # names of the parameters, for a suggestion
    creator = load_env_creator(entry_point) if isinstance(entry_point, str) else None
    parameters = inspect.signature(creator or entry_point).parameters.values()
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, 1)]
    wrong = [key for key in kwargs if key not in known]
    help = f"it takes {', '.join(known)}" if known else "it takes none"
    if wrong:
        help = did_you_mean(wrong[0], known, help)
    # without the hints that Gymnasium and Python append
    reason = str(error).partition(versions.GYMNASIUM_CREATOR)[0]
    reason = reason.partition(versions.PYTHON_HINT)[0]
    return UsageError(
        f"env.kwargs does not fit: {reason}", where=f"environment {env_id}", help=help
    )
