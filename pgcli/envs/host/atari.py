"""Atari games with the usual preprocessing for reinforcement learning.

Every step repeats the action for `frameskip` frames and returns the maximum of the last
two, in grey, 84 × 84; four steps are stacked, oldest first; an episode begins with up
to 30 no-op frames (Mnih et al., 2015; Machado et al., 2018, arXiv 1709.06009).
ale_py implements it for many games at once, Gymnasium's wrappers for one.

Both take the keyword arguments of ale_py's `AtariVectorEnv`, with the defaults of the
registered id (for `ALE/…-v5`: frameskip 4, repeat_action_probability 0.25). Rewards
are not clipped and a lost life does not end an episode; the learner's options do that.
"""

import importlib.util
from collections.abc import Mapping
from typing import Any

from pgcli.envs.host.registered import make_registered
from pgcli.envs.registry import not_installed, not_passed_on

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
"""Argument of ale_py -> our key with the same effect for any environment, or None."""


def arguments(
    env_id: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> tuple[dict[str, Any], int]:
    """(all keyword arguments, named as in `AtariVectorEnv`, limit in steps).

    Raises a UsageError if another key of the configuration sets an argument.
    """
    import gymnasium

    for name, key in _ELSEWHERE.items():
        if name in kwargs:
            reason = f": {env_id} keeps raw rewards and whole games"
            raise not_passed_on(name, key, reason)
    # later ones take precedence; the limit is counted in steps, not in frames
    merged = _STANDARD | gymnasium.spec(env_id).kwargs | dict(kwargs)
    frames = merged.pop("max_num_frames_per_episode")
    limit = max_episode_steps or max(1, frames // merged["frameskip"])
    return merged, limit


def make_game(
    env_id: str, name: str, kwargs: Mapping[str, Any], max_episode_steps: int | None
) -> Any:
    """One game in Gymnasium's wrappers. Arguments as in `make_registered`."""
    import gymnasium
    from gymnasium import wrappers

    class FireReset(gymnasium.Wrapper[Any, Any, Any, Any]):
        """Presses FIRE after a reset, which some games need to begin."""

        def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
            _, info = self.env.reset(**options)
            meanings = self.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
            fire = meanings.index("FIRE")
            obs, _, _, _, after = self.env.step(fire)
            return obs, {**info, **after}

    # AtariPreprocessing needs OpenCV
    if importlib.util.find_spec("cv2") is None:
        raise not_installed(env_id, "atari")
    # arguments of the wrappers; the rest belongs to the raw environment
    given, limit = arguments(env_id, kwargs, max_episode_steps)
    skip, stack = given.pop("frameskip"), given.pop("stack_num")
    size = given.pop("img_width"), given.pop("img_height")
    grey, noop_max = given.pop("grayscale"), given.pop("noop_max")
    fire = given.pop("use_fire_reset")
    raw = given | {
        "obs_type": "rgb",
        "frameskip": 1,
        "max_num_frames_per_episode": None,
    }
    # innermost first; the limit counts preprocessed steps
    env = make_registered(env_id, name, raw, None)
    if fire and "FIRE" in env.unwrapped.get_action_meanings():
        env = FireReset(env)
    env = wrappers.AtariPreprocessing(
        env, noop_max=noop_max, frame_skip=skip, screen_size=size, grayscale_obs=grey
    )
    env = wrappers.FrameStackObservation(env, stack, padding_type="zero")
    return wrappers.TimeLimit(env, limit)
