"""Families of environments, and the presets that they share."""

from pathlib import Path

import pytest

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.load import Resolved, resolve
from pgcli.config.source import families, presets


def resolved(algo: str, env_id: str, *sets: str, preset: bool = True) -> Resolved:
    flags = {"algo.name": (algo, "--algo"), "env.id": (env_id, "--env")}
    return resolve(file=None, flags=flags, sets=sets, use_preset=preset)


@pytest.mark.parametrize(
    ("env_id", "family"),
    [
        ("ALE/Qbert-v5", "atari"),
        ("HalfCheetah-v4", "mujoco"),
        ("HalfCheetah", "mujoco"),
        ("envpool:Ant-v4", "mujoco"),
        ("LunarLanderContinuous-v3", "box2d"),
        ("BipedalWalkerHardcore", "box2d"),
        ("gymnax:MountainCarContinuous-v0", "classic"),
        ("func:CartPole-v1", "classic"),
        ("FrozenLake8x8-v1", "toy-text"),
        ("BabyAI-GoToObj-v0", "minigrid"),
        ("xminigrid:MiniGrid-FourRooms", "minigrid"),
        ("pgx:minatar-freeway", "minatar"),
        ("gymnax:Asterix-MinAtar", "minatar"),
        ("brax:ant", "brax"),
        # not of the family whose name they contain
        ("AntMaze_UMaze-v5", None),
        ("CarRacing-v3", None),
        ("my_pkg:Taxi-v3", None),
        ("gymnax:Reacher-misc", None),
        ("Ant-v5-mine", None),
    ],
)
def test_family_of_an_id(env_id: str, family: str | None) -> None:
    assert families.find(env_id) == family


@pytest.mark.parametrize("algo", ALGORITHM_CONFIGS)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_preset_of_a_family_is_valid_for_every_algorithm(
    family: str, algo: str
) -> None:
    ids = {"atari": "ALE/Qbert-v5", "brax": "brax:ant", "mujoco": "Ant-v5"}
    ids |= {"box2d": "BipedalWalker-v3", "minatar": "gymnax:Asterix-MinAtar"}
    ids |= {"classic": "Acrobot-v1", "minigrid": "BabyAI-GoToObj-v0"}
    found = resolved(algo, ids.get(family, "Taxi-v3"))
    assert found.preset == f"families/{family}"
    assert found.origins["steps"] == f"preset families/{family}"
    tuned = found.origins["optimizer.lr"] == f"preset families/{family}"
    assert tuned == (algo == "ppo2")


def test_preset_of_the_environment_comes_before_that_of_its_family() -> None:
    assert resolved("ppo2", "HalfCheetah-v5").preset == "ppo2/HalfCheetah-v5"
    assert resolved("ppo2", "HalfCheetah-v4").preset == "families/mujoco"


def test_no_preset_switches_the_family_off_and_names_it() -> None:
    found = resolved("ppo2", "Ant-v5", preset=False)
    assert (found.preset, found.unused_preset) == (None, "families/mujoco")
    assert not found.config.normalize.obs


def test_flags_override_the_preset_of_a_family() -> None:
    found = resolved("ppo2", "ALE/Qbert-v5", "network.hidden=[8]")
    assert found.config.network.hidden == (8,)
    assert found.config.network.torso == "nature_cnn"


def test_atari_preset_leaves_the_raw_game_possible() -> None:
    found = resolved("ppo2", "ALE/Qbert-v5", "env.kwargs.obs_type=rgb")
    assert found.config.env.kwargs == {
        "repeat_action_probability": 0,
        "obs_type": "rgb",
    }


def test_every_preset_of_an_environment_has_its_family_below_it() -> None:
    """Those of two tasks of gymnax and of the playground stand alone."""
    alone = {
        path.stem
        for path in presets.available()
        if path.parent.name in ALGORITHM_CONFIGS
        and families.find(resolve(file=path, flags={}, sets=[]).config.env.id) is None
    }
    gymnax = {"gymnax-Catch-bsuite", "gymnax-MemoryChain-bsuite"}
    assert alone == {*gymnax, "playground-CartpoleBalance"}


def test_file_stands_on_the_preset_of_a_family(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    text = "base: families/atari\nalgo: {name: trpo}\nenv: {id: ALE/Qbert-v5}\n"
    file.write_text(text, encoding="utf-8")
    found = resolve(file=file, flags={}, sets=[])
    assert (found.preset, found.unused_preset) == ("families/atari", None)
    assert found.config.network.torso == "nature_cnn"
    assert not found.config.network.shared
    assert found.config == resolved("trpo", "ALE/Qbert-v5").config
