"""Versions of Gymnasium's ids, and the Atari games with their older ids."""

import importlib
import importlib.util
import re

from pgcli.errors import UsageError

_GAMES = (
    "Alien Amidar Assault Asterix Asteroids Atlantis BankHeist BattleZone BeamRider "
    "Berzerk Bowling Boxing Breakout Centipede ChopperCommand CrazyClimber Defender "
    "DemonAttack DoubleDunk Enduro FishingDerby Freeway Frostbite Gopher Gravitar Hero "
    "IceHockey Jamesbond Kangaroo Krull KungFuMaster MontezumaRevenge MsPacman "
    "NameThisGame Phoenix Pitfall Pong PrivateEye Qbert Riverraid RoadRunner Robotank "
    "Seaquest Skiing Solaris SpaceInvaders StarGunner Surround Tennis TimePilot "
    "Tutankham UpNDown Venture VideoPinball WizardOfWor YarsRevenge Zaxxon"
)
ATARI_GAMES = frozenset(_GAMES.split())
"""The 57 games in use, by their names in `ALE/NAME-v5`."""

_ATARI = "ale_py.env:AtariEnv"
_OLDER_ATARI = re.compile(
    r"(?P<game>[A-Za-z]+?)(-ram)?(?P<kind>NoFrameskip|Deterministic)?-v[04]"
)


def newest(name: str) -> str | None:
    """The newest registered version of a name with or without one; None for others."""
    import gymnasium
    from gymnasium.envs.registration import find_highest_version, get_env_id

    try:
        parsed = gymnasium.envs.registration.parse_env_id(name)
    except gymnasium.error.Error:
        return None
    version = find_highest_version(*parsed[:2])
    return None if version is None else get_env_id(*parsed[:2], version)


def is_older_atari(name: str) -> bool:
    """Whether a name is an older id of an Atari game, such as `PongNoFrameskip-v4`.

    The environment would return single frames in colour.
    """
    import gymnasium

    older = _OLDER_ATARI.fullmatch(name)
    if older is None:
        return False
    # `Pong-v4` may be an environment of another package
    spec = gymnasium.registry.get(name)
    if spec is not None:
        return bool(spec.entry_point == _ATARI)
    if importlib.util.find_spec("ale_py") is None:
        return older["kind"] is not None
    importlib.import_module("ale_py")
    return f"ALE/{older['game']}-v5" in gymnasium.registry


def older_atari(env_id: str, name: str) -> UsageError:
    """The error for an older id of an Atari game, with its id of today."""
    game, _, version = name.rpartition("-v")
    for kind in ("NoFrameskip", "Deterministic", "-ram"):
        game = game.removesuffix(kind)
    chance = " --env-kwargs repeat_action_probability=0" if version == "4" else ""
    return UsageError(
        f"`{env_id}` is an older id of an Atari game, without the usual preprocessing",
        help=f"--env ALE/{game}-v5{chance}",
    )
