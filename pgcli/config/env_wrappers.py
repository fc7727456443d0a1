"""Wrappers allowed in `env.wrappers`, with their arguments; refused ones, with reasons.

A user's own wrapper is `module:Name`. Plain data, so that a configuration can be
checked before Gymnasium is imported. A test compares it with the wrapper classes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pgcli.suggest import did_you_mean

GYMNASIUM, MINIGRID = "gymnasium.wrappers", "minigrid.wrappers"


class Wrapper(NamedTuple):
    """Module of a wrapper, and its required and optional keyword arguments."""

    module: str
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


WRAPPERS: Mapping[str, Wrapper] = {
    "DelayObservation": Wrapper(GYMNASIUM, ("delay",)),
    "DiscretizeAction": Wrapper(GYMNASIUM, ("bins",), ("multidiscrete",)),
    "DiscretizeObservation": Wrapper(GYMNASIUM, ("bins",), ("multidiscrete",)),
    "DtypeObservation": Wrapper(GYMNASIUM, ("dtype",)),
    "FilterObservation": Wrapper(GYMNASIUM, ("filter_keys",)),
    "FlattenObservation": Wrapper(GYMNASIUM),
    "FrameStackObservation": Wrapper(GYMNASIUM, ("stack_size",), ("padding_type",)),
    "GrayscaleObservation": Wrapper(GYMNASIUM, (), ("keep_dim",)),
    "MaxAndSkipObservation": Wrapper(GYMNASIUM, (), ("skip",)),
    "RepeatAction": Wrapper(GYMNASIUM, ("num_repeats",)),
    "RescaleAction": Wrapper(GYMNASIUM, ("min_action", "max_action")),
    "RescaleObservation": Wrapper(GYMNASIUM, ("min_obs", "max_obs")),
    "ReshapeObservation": Wrapper(GYMNASIUM, ("shape",)),
    "ResizeObservation": Wrapper(GYMNASIUM, ("shape",)),
    "StickyAction": Wrapper(
        GYMNASIUM, ("repeat_action_probability",), ("repeat_action_duration",)
    ),
    "TimeAwareObservation": Wrapper(
        GYMNASIUM, (), ("flatten", "normalize_time", "dict_time_key")
    ),
    "DirectionObsWrapper": Wrapper(MINIGRID, (), ("type",)),
    "FlatObsWrapper": Wrapper(MINIGRID, (), ("maxStrLen",)),
    "FullyObsWrapper": Wrapper(MINIGRID),
    "ImgObsWrapper": Wrapper(MINIGRID),
    "OneHotPartialObsWrapper": Wrapper(MINIGRID, (), ("tile_size",)),
    "RGBImgObsWrapper": Wrapper(MINIGRID, (), ("tile_size",)),
    "RGBImgPartialObsWrapper": Wrapper(MINIGRID, (), ("tile_size",)),
    "SymbolicObsWrapper": Wrapper(MINIGRID),
    "ViewSizeWrapper": Wrapper(MINIGRID, (), ("agent_view_size",)),
    "ActionBonus": Wrapper(MINIGRID),
    "NoDeath": Wrapper(MINIGRID, ("no_death_types",), ("death_cost",)),
    "PositionBonus": Wrapper(MINIGRID),
}

CHANGE_RETURNS = {"ActionBonus", "NoDeath", "PositionBonus"}
"""Wrappers that change rewards, in addition to the user's own ones, which may."""

_RETURN = "it would change the returns that are logged and evaluated; set {} instead"
_NEEDLESS = "{} already; leave it out"
REFUSED: Mapping[str, str] = {
    "ClipReward": _RETURN.format("`normalize.reward` and `normalize.clip`"),
    "NormalizeReward": _RETURN.format("`normalize.reward`"),
    "TransformReward": _RETURN.format("`normalize.reward`"),
    "NormalizeObservation": "its statistics would not be saved, nor frozen in "
    "evaluation; set `normalize.obs` instead",
    "TransformObservation": "a configuration cannot contain a function; register an "
    "environment of your own in a module given by --env-module",
    "TransformAction": "a configuration cannot contain a function; register an "
    "environment of your own in a module given by --env-module",
    "TimeLimit": "set `env.max_episode_steps` instead",
    "ClipAction": _NEEDLESS.format("actions are clipped to the bounds"),
    "RecordEpisodeStatistics": _NEEDLESS.format("returns and lengths are recorded"),
    "OrderEnforcing": _NEEDLESS.format("every environment has it"),
    "Autoreset": "pgcli resets environments itself, and needs the last observation of "
    "an episode",
    "ReseedWrapper": "pgcli sets the seeds; with it the same few episodes would repeat",
    "AtariPreprocessing": "a lost life would be logged as the end of an episode",
}
"""Name of a refused wrapper -> reason, and remedy if there is one."""

Fault = tuple[str, str | None]
"""(problem of one item, remedy or None)."""


def parse(item: Any) -> tuple[str, Mapping[str, Any]]:
    """(name, keyword arguments) of an item without `faults`."""
    if isinstance(item, str):
        return item, {}
    if "name" in item:
        return item["name"], item.get("kwargs") or {}
    [(name, kwargs)] = item.items()
    return name, kwargs or {}


def is_own(name: str) -> bool:
    """Whether a name is that of a user's wrapper, `module:Name`."""
    return ":" in name


def may_change_returns(items: Iterable[Any]) -> bool:
    """Whether rewards may differ from those beneath the wrappers."""
    names = (parse(item)[0] for item in items)
    return any(is_own(name) or name in CHANGE_RETURNS for name in names)


def faults(item: Any, place: str) -> Iterator[Fault]:
    """Problems of one item of `env.wrappers`, called `place` in messages."""
    # the form of the item
    if not _has_form(item):
        form = "a name, {NAME: {argument: value}} or {name: NAME, kwargs: {…}}"
        yield f"`{place}` must be {form}", "such as {FrameStackObservation: …}"
        return

    # the name
    name, kwargs = parse(item)
    if name in REFUSED:
        yield f"`{place}`: {name} is refused", REFUSED[name]
        return
    if is_own(name):
        module, _, attribute = name.partition(":")
        if not all(part.isidentifier() for part in (*module.split("."), attribute)):
            yield f"`{place}`: `{name}` is not MODULE:NAME", "such as my_pkg:MyWrapper"
        return
    if name not in WRAPPERS:
        module, dot, attribute = name.rpartition(".")
        own = f"{module}:{attribute}" if dot else "MODULE:NAME"
        otherwise = f"one of your own is {own}; there are {', '.join(WRAPPERS)}"
        help = did_you_mean(name, WRAPPERS, otherwise)
        yield f"`{place}`: no wrapper `{name}`", help
        return

    # the arguments
    wrapper = WRAPPERS[name]
    known = (*wrapper.required, *wrapper.optional)
    for key in kwargs:
        if key not in known:
            arguments = f"there are {', '.join(known)}"
            help = did_you_mean(key, known, arguments if known else "it takes none")
            yield f"`{place}`: {name} has no argument `{key}`", help
    if missing := [key for key in wrapper.required if key not in kwargs]:
        example = ", ".join(f"{key}: …" for key in missing)
        words = " and ".join(f"`{key}`" for key in missing)
        yield f"`{place}`: {name} needs {words}", f"write {{{name}: {{{example}}}}}"


def _has_form(item: Any) -> bool:
    if isinstance(item, str):
        return True
    if not isinstance(item, Mapping):
        return False
    if "name" in item:
        known = isinstance(item["name"], str) and not item.keys() - {"name", "kwargs"}
        values = [item.get("kwargs")]
    else:
        known, values = len(item) == 1, [*item.values()]
    return known and all(x is None or isinstance(x, Mapping) for x in values)
