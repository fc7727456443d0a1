"""Many Atari games, preprocessed and stepped by ale_py's own threads."""

from pgcli.envs.host.atari import arguments
from pgcli.envs.host.env_factory import EnvFactory
from pgcli.envs.host.native_vector import NativeVector
from pgcli.envs.registry import unusable
from pgcli.errors import UsageError


def make_atari(factory: EnvFactory, seeds: list[int]) -> NativeVector:
    """One game per seed.

    Raises:
      UsageError: the constructor rejects an argument.
      EnvironmentFailed: the games could not be made.
    """
    from ale_py.vector_env import AtariVectorEnv
    from gymnasium.vector import AutoresetMode

    # SAME_STEP spends no step on a reset; rewards are clipped by the learner, if at all
    given, limit = arguments(factory.id, factory.kwargs, factory.max_episode_steps)
    try:
        env = AtariVectorEnv(
            num_envs=len(seeds),
            autoreset_mode=AutoresetMode.SAME_STEP,
            reward_clipping=False,
            max_num_frames_per_episode=limit * given["frameskip"],
            **given,
        )
    except TypeError as error:
        raise UsageError(f"env.kwargs does not fit {factory.id}: {error}") from error
    except BaseException as error:
        raise unusable(factory.id, error) from error
    return NativeVector(env, seeds, factory.id, limit)
