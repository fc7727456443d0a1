"""Many Atari games, preprocessed and stepped by ale_py's own threads."""

from pgcli.envs.host.atari import arguments
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.host.native_vector import NativeVector
from pgcli.envs.registry import unusable
from pgcli.errors import UsageError


def make_atari(factory: EnvFactory, seeds: list[int]) -> NativeVector:
    """One game per seed.

    Raises:
      UsageError: arguments do not fit.
      EnvironmentFailed: the games could not be made.
    """
    from ale_py.vector_env import AtariVectorEnv
    from gymnasium.vector import AutoresetMode

    given, limit = arguments(factory.id, factory.kwargs, factory.max_episode_steps)
    try:
        env = AtariVectorEnv(
            num_envs=len(seeds),
            autoreset_mode=AutoresetMode.SAME_STEP,  # no step is spent on a reset
            reward_clipping=False,
            max_num_frames_per_episode=limit * given["frameskip"],
            **given,
        )
    except TypeError as error:
        raise UsageError(f"env.kwargs does not fit {factory.id}: {error}") from error
    except Exception as error:
        raise unusable(factory.id, error) from error
    return NativeVector(env, seeds, factory.id, limit)
