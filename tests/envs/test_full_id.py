"""Ids without a version, in lower case, or without a namespace."""

import json
import subprocess
import sys
from typing import Any

import pytest

from pgcli.config.load import resolve
from pgcli.config.schema import EnvConfig
from pgcli.envs.full_id import full_id
from pgcli.envs.older_ids import ATARI_GAMES
from pgcli.envs.registry import check
from pgcli.errors import UsageError
from pgcli.training.configure import configure


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("CartPole", "CartPole-v1"),  # the newest of v0 and v1
        ("cartpole-v1", "CartPole-v1"),
        ("LUNARLANDER", "LunarLander-v3"),
        ("phys2d/CartPole", "phys2d/CartPole-v1"),
        ("Pong", "ALE/Pong-v5"),
        ("Pong-v5", "ALE/Pong-v5"),
        ("ale/mspacman-v5", "ALE/MsPacman-v5"),
        ("func:CartPole", "func:CartPole-v1"),
        ("func:pendulum-v1", "func:Pendulum-v1"),
    ],
)
def test_id_that_is_certain_is_completed_and_said(given: str, found: str) -> None:
    assert full_id(given) == (found, f"`{given}` is read as {found}")


@pytest.mark.parametrize(
    "given",
    # not certain, or as it should be: `Pong-v4` is another environment
    ["CartPole-v1", "CartPole-v7", "CartPol", "Pong-v4", "brax:ants", "a:b", "", "-v1"],
)
def test_other_ids_stay(given: str) -> None:
    assert full_id(given) == (given, None)


def test_older_version_stays_and_is_said() -> None:
    note = "`CartPole-v0` is an older version of CartPole-v1"
    assert full_id("CartPole-v0") == ("CartPole-v0", note)


def test_games_are_57() -> None:
    # the 57 of the Arcade Learning Environment's papers, of which none is left out
    assert len(ATARI_GAMES) == 57


@pytest.mark.parametrize(
    ("given", "newest"),
    [("LunarLander-v2", "LunarLander-v3"), ("CartPole-v7", "CartPole-v1")],
)
def test_version_that_does_not_exist_names_the_newest(given: str, newest: str) -> None:
    with pytest.raises(UsageError) as caught:
        check(EnvConfig(given))
    assert caught.value.help == f"the newest version is {newest}"


@pytest.mark.parametrize("source", ["flag", "set", "file"])
def test_preset_is_that_of_the_full_id(source: str, tmp_path: Any) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("env: {id: CartPole}\n")
    resolved = resolve(
        file=[file] if source == "file" else None,
        flags={"env.id": ("CartPole", "--env")} if source == "flag" else {},
        sets=["env.id=CartPole"] if source == "set" else [],
        full_id=full_id,
    )
    assert resolved.config.env.id == "CartPole-v1"
    assert resolved.note == "`CartPole` is read as CartPole-v1"
    name = resolved.unused_preset if source == "file" else resolved.preset
    assert name == "ppo2/CartPole-v1"


def test_gymnasium_does_not_say_it_again() -> None:
    words = ["train", "--env", "CartPole-v0", "--dry-run", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "pgcli", *words], capture_output=True, text=True
    )
    assert json.loads(done.stdout)["env"] == "CartPole-v0"
    first, second = done.stderr.splitlines()
    assert first == "`CartPole-v0` is an older version of CartPole-v1"
    assert second.startswith("configuration: ")


def test_configure_completes_an_id() -> None:
    assert configure(env="cartpole").config.env.id == "CartPole-v1"
