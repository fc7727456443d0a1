"""Atari games with the preprocessing that is usual for learning from them.

Every step repeats the action for `frameskip` frames and shows the larger of the last
two, grey, 84 × 84; four steps are stacked, oldest first; an episode begins with up to
30 frames of doing nothing (Mnih et al., 2015; Machado et al., 2018, arXiv 1709.06009).
ale_py does it natively for many games at once; Gymnasium's wrappers do it for one.

Both take the keyword arguments of ale_py's `AtariVectorEnv`, with the defaults of the
registered id (for `ALE/…-v5`: frameskip 4, repeat_action_probability 0.25). Rewards
stay raw and a lost life ends nothing: those are the learner's affair.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any

from pgcli.config.schema import EnvConfig
from pgcli.envs.host.native_vector import NativeVector
from pgcli.errors import UsageError

_STANDARD = {
    "noop_max": 30,
    "use_fire_reset": True,
    "img_height": 84,
    "img_width": 84,
    "grayscale": True,
    "stack_num": 4,
}
_ELSEWHERE = {
    "reward_clipping": "normalize.reward_sign",
    "episodic_life": "rollout.end_on_life_loss",
    "life_loss_info": "rollout.end_on_life_loss",
    "autoreset_mode": None,
    "num_envs": "env.num_envs",
}
"""Arguments of theirs -> the key of ours that does it, for any environment."""


def preprocessed(config: EnvConfig) -> bool:
    """Whether the id names a game under the usual preprocessing.

    Who asks for a kind of observation (`obs_type`) gets the game as it is registered.
    """
    return config.id.startswith("ALE/") and "obs_type" not in config.kwargs


def _arguments(config: EnvConfig) -> tuple[dict[str, Any], int]:
    """(all keyword arguments by the vector environment's names, limit in steps)."""
    import gymnasium

    for name, key in _ELSEWHERE.items():
        if name in config.kwargs:
            raise UsageError(
                f"env.kwargs.{name} is not passed on: {config.id} keeps raw rewards "
                "and whole games",
                help=f"set {key}" if key else "leave it out",
            )
    merged = _STANDARD | gymnasium.spec(config.id).kwargs | dict(config.kwargs)
    frames = merged.pop("max_num_frames_per_episode")
    limit = config.max_episode_steps or max(1, frames // merged["frameskip"])
    return merged, limit


def _register(env_id: str) -> None:
    """Makes Gymnasium know the games of ale_py.

    Raises:
      UsageError: it is not installed, or has no such game.
    """
    import gymnasium

    from pgcli.envs.registry import registered_name, unknown_env

    if registered_name(env_id) not in gymnasium.registry:
        raise unknown_env(env_id)


def make_vector(config: EnvConfig, num_envs: int, seeds: list[int]) -> NativeVector:
    """`num_envs` games stepped by ale_py's threads."""
    from pgcli.envs.registry import unusable

    _register(config.id)
    from ale_py.vector_env import AtariVectorEnv
    from gymnasium.vector import AutoresetMode

    arguments, limit = _arguments(config)
    try:
        env = AtariVectorEnv(
            num_envs=num_envs,
            autoreset_mode=AutoresetMode.SAME_STEP,  # no step is spent on a reset
            reward_clipping=False,
            max_num_frames_per_episode=limit * arguments["frameskip"],
            **arguments,
        )
    except TypeError as error:
        raise UsageError(f"env.kwargs does not fit {config.id}: {error}") from error
    except Exception as error:
        raise unusable(config.id, error) from error
    return NativeVector(env, seeds, config.id, limit)


def make_single(config: EnvConfig) -> Any:
    """One game by Gymnasium's wrappers."""
    import gymnasium
    from gymnasium import wrappers

    from pgcli.envs.registry import make_gymnasium, not_installed

    class FireReset(gymnasium.Wrapper[Any, Any, Any, Any]):
        """Presses FIRE once where a game has that button, as some need to begin."""

        def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
            _, info = self.env.reset(**options)
            meanings = self.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
            fire = meanings.index("FIRE")
            obs, _, _, _, after = self.env.step(fire)
            return obs, {**info, **after}

    _register(config.id)
    if importlib.util.find_spec("cv2") is None:
        raise not_installed(config.id, "atari")
    arguments, limit = _arguments(config)
    skip, stack = arguments.pop("frameskip"), arguments.pop("stack_num")
    size = arguments.pop("img_width"), arguments.pop("img_height")
    grey, noop_max = arguments.pop("grayscale"), arguments.pop("noop_max")
    fire = arguments.pop("use_fire_reset")
    raw: Mapping[str, Any] = arguments | {
        "obs_type": "rgb",
        "frameskip": 1,
        "max_num_frames_per_episode": None,
    }
    env = make_gymnasium(EnvConfig(config.id, kwargs=raw))
    if fire and "FIRE" in env.unwrapped.get_action_meanings():
        env = FireReset(env)
    env = wrappers.AtariPreprocessing(
        env, noop_max=noop_max, frame_skip=skip, screen_size=size, grayscale_obs=grey
    )
    env = wrappers.FrameStackObservation(env, stack, padding_type="zero")
    return wrappers.TimeLimit(env, limit)
