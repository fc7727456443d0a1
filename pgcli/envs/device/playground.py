"""On-device environments of MuJoCo Playground (prefix `playground:`).

They use Brax's protocol. The physics is MJX's JAX implementation; Playground's default
is Warp, which compiles its own kernels and requires NVIDIA GPUs (`impl: warp` in
`env.kwargs` selects it). The control suite is part of the package; models of robots are
not, and Playground clones them with git when the first one is loaded. pgcli does not
download them: without the models, a robot is an error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict

from pgcli.envs.base import DeviceEnv
from pgcli.envs.device.adapter_support import quietly, unknown_kwargs
from pgcli.envs.device.brax import from_brax
from pgcli.envs.device.pictures import mujoco_pictures
from pgcli.envs.device_names import ROBOTS
from pgcli.errors import UsageError

DOWNLOAD = (
    "python -c 'from mujoco_playground._src.mjx_env import ensure_menagerie_exists as "
    "get; get()'"
)


@quietly()
def make(
    name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> DeviceEnv:
    """The environment `playground:NAME`.

    Action repeat and time limit are those of its registered configuration; `kwargs`
    override it, nested or with dots. Raises a UsageError without the models of a robot.
    """
    import mujoco_playground
    from mujoco_playground import registry

    env_id = f"playground:{name}"
    # loading a robot without its models would start a download
    models = Path(mujoco_playground.__file__).parent / "external_deps"
    if name in ROBOTS and not (models / "mujoco_menagerie").is_dir():
        raise UsageError(
            "the models of Playground's robots are not installed",
            where=f"environment {env_id}",
            help=f"download them with git: {DOWNLOAD}",
        )
    # overrides with dotted keys, as Playground expects them
    config = registry.get_default_config(name)
    changes = {"impl": "jax"} if "impl" in config else {}
    changes |= flatten_dict(dict(kwargs), sep=".")
    try:
        env = registry.load(name, config, changes)
    except (KeyError, TypeError, ValueError) as error:
        raise unknown_kwargs(env_id, error) from None
    made = from_brax(
        env_id, env, config.episode_length, config.action_repeat, max_episode_steps
    )

    def positions(state: Any) -> tuple[Any, Any]:
        return state[0].data.qpos, state[0].data.qvel

    fps = 1 / (float(env.dt) * config.action_repeat)
    return made._replace(render=mujoco_pictures(env.mj_model, positions), fps=fps)
