"""Wrappers allowed in `env.wrappers`, with their arguments; refused ones, with reasons.

Plain data, so that a configuration can be checked before Gymnasium is imported. A test
compares it with the wrapper classes.
"""

from collections.abc import Collection, Iterator, Mapping
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
}

_RETURN = "it would change the returns that are logged and evaluated; set {} instead"
_NEEDLESS = "{} already; leave it out"
REFUSED: Mapping[str, str] = {
    "ClipReward": _RETURN.format("`normalize.reward` and `normalize.clip`"),
    "NormalizeReward": _RETURN.format("`normalize.reward`"),
    "TransformReward": _RETURN.format("`normalize.reward`"),
    "ActionBonus": "it would add to the returns that are logged and evaluated",
    "PositionBonus": "it would add to the returns that are logged and evaluated",
    "NoDeath": "it would change the returns that are logged and evaluated",
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
    [(name, kwargs)] = item.items()
    return name, kwargs or {}


def faults(item: Any, place: str) -> Iterator[Fault]:
    """Problems of one item of `env.wrappers`, called `place` in messages."""
    # the form of the item
    form = "a name, or {name: {argument: value}}"
    single = isinstance(item, Mapping) and len(item) == 1
    if not isinstance(item, str) and not (
        single and all(v is None or isinstance(v, Mapping) for v in item.values())
    ):
        yield f"`{place}` must be {form}", "such as {FrameStackObservation: …}"
        return

    # the name
    name, kwargs = parse(item)
    if name in REFUSED:
        yield f"`{place}`: {name} is refused", REFUSED[name]
        return
    if name not in WRAPPERS:
        yield f"`{place}`: no wrapper `{name}`", _near(name, WRAPPERS)
        return

    # the arguments
    wrapper = WRAPPERS[name]
    known = (*wrapper.required, *wrapper.optional)
    for key in kwargs:
        if key not in known:
            help = _near(key, known) if known else f"{name} takes none"
            yield f"`{place}`: {name} has no argument `{key}`", help
    if missing := [key for key in wrapper.required if key not in kwargs]:
        example = ", ".join(f"{key}: …" for key in missing)
        words = " and ".join(f"`{key}`" for key in missing)
        yield f"`{place}`: {name} needs {words}", f"write {{{name}: {{{example}}}}}"


def _near(word: str, known: Collection[str]) -> str:
    return did_you_mean(word, known, f"there are {', '.join(known)}")
