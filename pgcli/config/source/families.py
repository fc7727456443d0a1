"""Families of environments: which ids belong to one, and what its preset sets.

The presets are `configs/families/<name>.yaml`. They are used for ids without a preset
of their own.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import NamedTuple

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.source.document import Document

FOLDER = "families"
"""Directory of the presets of families."""


class Family(NamedTuple):
    """A family: its name in messages, and a pattern of its ids without version."""

    title: str
    ids: str


FAMILIES: Mapping[str, Family] = {
    "atari": Family("Atari", r"ALE/.+"),
    "box2d": Family("Box2D", r"(BipedalWalker|LunarLander)(Continuous|Hardcore)?"),
    "brax": Family("Brax", r"brax:.+"),
    "classic": Family(
        "classic control",
        r"((func|gymnax):)?(Acrobot|CartPole|MountainCar(Continuous)?|Pendulum)",
    ),
    "minatar": Family("MinAtar", r"gymnax:.+-MinAtar|pgx:minatar-.+"),
    "minigrid": Family("MiniGrid", r"(MiniGrid|BabyAI)-.+|xminigrid:.+"),
    "mujoco": Family(
        "MuJoCo",
        r"Ant|HalfCheetah|Hopper|Humanoid(Standup)?|Inverted(Double)?Pendulum|Pusher"
        r"|Reacher|Swimmer|Walker2d",
    ),
    "toy-text": Family(
        "toy text", r"Blackjack|CliffWalking(Slippery)?|FrozenLake(8x8)?|Taxi"
    ),
}
"""Families by the file name of their preset."""

OF_ENVIRONMENT = ("env", "network", "normalize", "eval", "steps")
"""Keys of a family's preset that apply to every algorithm, not only to its own."""


def find(env_id: str) -> str | None:
    """The family of an environment, with or without a version, or None."""
    name = re.sub(r"-v\d+$", "", env_id).removeprefix("envpool:")
    known = FAMILIES.items()
    return next((key for key, each in known if re.fullmatch(each.ids, name)), None)


def title(preset: str | None) -> str | None:
    """The title of the family whose preset has this name, such as `families/mujoco`."""
    folder, _, name = (preset or "").partition("/")
    return FAMILIES[name].title if folder == FOLDER and name in FAMILIES else None


def title_of(env_id: str | None) -> str | None:
    """The title of an environment's family, or None."""
    name = None if env_id is None else find(env_id)
    return None if name is None else FAMILIES[name].title


def fitted(document: Document, algo: str) -> Document:
    """A preset as an algorithm can use it.

    That of a family is tuned for one algorithm. Others take what depends on the
    environment only: no batch, no learning rate, and no shared layers if the policy's
    step has to leave the value function as it is.
    """
    tree = document.tree or {}
    tuned_for = (tree.get("algo") or {}).get("name")
    if title(document.preset) is None or tuned_for == algo:
        return document
    kept = {key: tree[key] for key in OF_ENVIRONMENT if key in tree}
    if ALGORITHM_CONFIGS[algo].separate_policy_step and "network" in kept:
        network = kept["network"].items()
        kept["network"] = {key: value for key, value in network if key != "shared"}
    return dataclasses.replace(document, tree=kept)
