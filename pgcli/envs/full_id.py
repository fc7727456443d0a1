"""Ids of environments without a version, in lower case, or without a namespace."""

import importlib.util
import re

from pgcli.envs import registry
from pgcli.envs.older_ids import ATARI_GAMES, newest

_VERSION = re.compile(r"-v(\d+)$", re.IGNORECASE)


def atari_ids() -> list[str]:
    """Ids of the games, if ale_py is installed."""
    if importlib.util.find_spec("ale_py") is None:
        return []
    return [f"ALE/{game}-v5" for game in sorted(ATARI_GAMES)]


def full_id(env_id: str) -> tuple[str, str | None]:
    """(the registered id that an id stands for, what to say about it or None).

    An id without a version stands for the newest version; case does not matter. An id
    that is not certain is returned as it is.
    """
    import gymnasium

    registry.import_package(env_id)
    latest = newest(env_id)
    if env_id in gymnasium.registry:
        if latest in (None, env_id):
            return env_id, None
        return env_id, f"`{env_id}` is an older version of {latest}"
    found = latest or _atari(env_id) or _functional(env_id) or _in_other_case(env_id)
    if found is None or (_VERSION.search(env_id) and found == latest):
        return env_id, None
    return found, f"`{env_id}` is read as {found}"


def _atari(env_id: str) -> str | None:
    """The id of an Atari game; the older versions are different environments."""
    version = _VERSION.search(env_id)
    if version is not None and version[1] != "5":
        return None
    name = _VERSION.sub("", env_id).lower().removeprefix("ale/")
    games = {game.lower(): game for game in ATARI_GAMES}
    return f"ALE/{games[name]}-v5" if name in games else None


def _functional(env_id: str) -> str | None:
    """The on-device environment of the core with this name."""
    prefix, _, name = env_id.partition(":")
    names = registry.DEVICE_BACKENDS["func"].names() if prefix == "func" else []
    same = [
        full
        for full in names
        if name.lower() in (full.lower(), _VERSION.sub("", full).lower())
    ]
    return f"func:{same[0]}" if same else None


def _in_other_case(env_id: str) -> str | None:
    """The registered id that differs in case only, or has a version in addition."""
    import gymnasium

    names = {each.lower(): each for each in gymnasium.registry}
    if (same := names.get(env_id.lower())) is not None:
        return same
    if _VERSION.search(env_id):
        return None
    plain = {_VERSION.sub("", each).lower(): each for each in gymnasium.registry}
    return newest(plain.get(env_id.lower(), ""))
