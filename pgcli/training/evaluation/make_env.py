"""`make_env`: the environment of a run, for users' programs."""

import dataclasses
from pathlib import Path
from typing import Any

from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.host.env_factory import env_factory
from pgcli.envs.make import make_device_env
from pgcli.errors import UsageError
from pgcli.runs_dir import RUNS_DIR
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.evaluation.saved_agents import find_checkpoint, load_agents


@in_32_bits()
def make_env(
    run: str | Path, *, runs_dir: str | Path = RUNS_DIR, render_mode: str | None = None
) -> Any:
    """The environment of a run as one Gymnasium environment, exactly as trained.

    It has the arguments, the time limit, the preprocessing and the wrappers of the
    training. With `load_policy`, it gives the returns of `evaluate` for the same seeds,
    if the environment runs on the host.

    Args:
      run: name or path of a run, or path of a checkpoint.
      runs_dir: directory of named runs.
      render_mode: passed to the constructor: `human`, `rgb_array`, …

    Raises:
      UsageError: the run does not exist, its modules are not named, or its environment
        exists in vectors only or does not render.
      CheckpointError: its last checkpoint is missing or damaged.
      EnvironmentFailed: the environment could not be made.
    """
    trained = load_agents(find_checkpoint(str(run), Path(runs_dir)))[0]
    user_modules.require(trained.env_modules, str(trained.path))
    return gymnasium_env(trained.config.env, render_mode)


def gymnasium_env(config: EnvConfig, render_mode: str | None = None) -> Any:
    """The configured environment, also one on the device, as one of Gymnasium."""
    if config.backend == "envpool":
        raise UsageError(f"`{config.id}` exists in vectors only")
    if config.on_device:
        from pgcli.envs.device.as_gymnasium import AsGymnasium  # imports gymnasium

        env = AsGymnasium(make_device_env(config))
        if render_mode not in (None, env.render_mode):
            only = "has no pictures" if env.render_mode is None else "has pictures only"
            raise UsageError(
                f"`{config.id}` does not render `{render_mode}`: it {only}",
                help="`pgcli video` records pictures to a file",
            )
        return env
    if render_mode is not None:
        kwargs = {**config.kwargs, "render_mode": render_mode}
        config = dataclasses.replace(config, kwargs=kwargs)
    return env_factory(config)()
