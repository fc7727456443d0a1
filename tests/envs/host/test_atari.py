"""Atari by ale_py's vector environment and by Gymnasium's wrappers: the same games."""

from typing import Any

import numpy as np
import pytest

from pgcli.config.schema import EnvConfig
from pgcli.envs.base import Box, Discrete, HostEnv, HostSlot
from pgcli.envs.make import make_host_env
from pgcli.envs.obs_trees import empty_obs
from pgcli.errors import UsageError

pytest.importorskip("ale_py")
pytest.importorskip("cv2")

# without chance, so that both play the same game
CERTAIN = {"noop_max": 0, "repeat_action_probability": 0}


def make(vectorizer: Any, env_id: str = "ALE/Breakout-v5", **config: Any) -> HostEnv:
    return make_host_env(EnvConfig(env_id, **config), [7], vectorizer=vectorizer)


def play(env: HostEnv, num_steps: int) -> list[tuple[Any, ...]]:
    """(obs, reward, terminated, truncated, start, life_lost) of every step."""
    obs = empty_obs(env.spec.obs, (1,))
    env.reset(obs)
    assert not obs[0, :3].any()  # three frames before the first
    assert obs[0, 3].any()
    actions = np.random.default_rng(0).integers(0, 4, (num_steps, 1)).astype(np.int32)
    rows = []
    for action in actions:
        flags = [np.zeros(1, bool) for _ in range(3)]
        slot = HostSlot(
            obs, np.zeros(1, np.float32), *flags, np.ones(1, bool), np.zeros(1, bool)
        )
        finals = env.step(action, slot)
        assert slot.real.all()
        rows.append((obs.copy(), slot.reward[0], *(x[0] for x in flags)))
        rows[-1] += (slot.life_lost[0], finals)  # type: ignore[index]
    env.close()
    return rows


def test_atari_is_the_same_game_natively_and_by_wrappers() -> None:
    native, ours = (make(how, kwargs=CERTAIN) for how in ("native", "in_process"))
    assert native.spec == ours.spec
    assert native.spec.obs == Box((4, 84, 84), "uint8", 0.0, 255.0)
    assert native.spec.action == Discrete(4)
    assert native.spec.max_episode_steps == 108_000 // 4
    theirs, rows = play(native, 400), play(ours, 400)
    for mine, other in zip(rows, theirs, strict=True):
        assert mine[1:6] == other[1:6]
        if not (mine[4] or mine[5]):  # frames that end a life are shown half skipped
            # two builds of the same area interpolation
            assert np.abs(mine[0].astype(int) - other[0].astype(int)).max() <= 1
    assert sum(row[2] for row in rows) > 0  # whole games
    assert sum(row[5] for row in rows) > 4  # and lives within them
    assert max(row[1] for row in rows) >= 1


@pytest.mark.parametrize("vectorizer", ["native", "in_process"])
def test_atari_cut_off_has_its_last_frames(vectorizer: str) -> None:
    rows = play(make(vectorizer, kwargs=CERTAIN, max_episode_steps=5), 11)
    assert [t for t, row in enumerate(rows) if row[3]] == [4, 9]
    for t in (4, 9):
        obs, *_, finals = rows[t]
        ((n, final),) = finals
        assert n == 0
        np.testing.assert_array_equal(final[:3], rows[t - 1][0][0, 1:])
        assert not obs[0, :3].any()  # a new game


def test_atari_keeps_rewards_raw() -> None:
    # Skiing charges for time in hundredths of a second: several of them at every step
    env = make("native", "ALE/Skiing-v5", kwargs=CERTAIN)
    obs = empty_obs(env.spec.obs, (1,))
    env.reset(obs)
    flags = [np.zeros(1, bool) for _ in range(3)]
    slot = HostSlot(obs, np.zeros(1, np.float32), *flags, np.ones(1, bool))
    env.step(np.zeros(1, np.int32), slot)
    env.close()
    assert slot.reward[0] < -1


@pytest.mark.parametrize("vectorizer", ["native", "in_process"])
@pytest.mark.parametrize(
    ("kwargs", "said", "help"),
    [
        ({"reward_clipping": True}, "reward_clipping", "normalize.reward_sign"),
        ({"episodic_life": True}, "episodic_life", "rollout.end_on_life_loss"),
        ({"wheels": 3}, "wheels", ""),
    ],
)
def test_atari_refuses_what_the_learner_does_and_what_is_not_there(
    vectorizer: str, kwargs: dict[str, Any], said: str, help: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        make(vectorizer, kwargs=kwargs)
    assert help in (caught.value.help or "")


def test_atari_with_a_kind_of_observation_is_the_registered_game() -> None:
    env = make(None, kwargs={"obs_type": "ram"})
    env.close()
    assert env.spec.obs == Box((128,), "uint8", 0.0, 255.0)
    with pytest.raises(UsageError, match=r"ALE/Pang-v5"):
        make(None, "ALE/Pang-v5")
