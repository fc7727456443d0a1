"""The environment, the network and the devices of a run, without training."""

from typing import Any

from pgcli.config.schema import RunConfig
from pgcli.envs.base import EnvSpec, mask_source, without_mask
from pgcli.envs.make import make_device_env, make_host_env
from pgcli.storage.loggers import require_packages
from pgcli.training import space_defaults
from pgcli.training.backend import layout
from pgcli.training.backend.memory import require_memory
from pgcli.training.backend.precision import in_32_bits
from pgcli.training.evaluation.fit import describe
from pgcli.training.seeds import env_seeds
from pgcli.training.step import make_setup


@in_32_bits()
def preview(config: RunConfig) -> dict[str, Any]:
    """Facts about a run, from one environment that is made and closed.

    Returns:
      `warning` (a text or None), `accelerator, devices, observations, actions,
      action_mask, time_limit, parameters`.

    Raises:
      PgcliError: as at the start of training.
    """
    require_packages(config.log.sinks)
    # JAX starts as for training, so that devices and memory are the same
    accelerator = layout.start(config).accelerator
    spec = _spec(config)
    setup = make_setup(config, spec)
    return {
        "warning": space_defaults.warning(config, spec.obs),
        "accelerator": accelerator.platform,
        "devices": accelerator.devices,
        "observations": describe(without_mask(spec.obs)),
        "actions": describe(spec.action),
        "action_mask": mask_source(spec.obs),
        "time_limit": spec.max_episode_steps,
        "parameters": require_memory(config, setup),
    }


def _spec(config: RunConfig) -> EnvSpec:
    if config.env.on_device:
        return make_device_env(config.env).spec
    seeds = env_seeds(config.seed, "train", 1)
    env = make_host_env(config.env, seeds, vectorizer=config.host.vectorizer)
    try:
        return env.spec
    finally:
        env.close()
