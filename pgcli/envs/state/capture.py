"""The state of one Gymnasium environment, captured and restored.

The first of these that is possible: the environment's own `get_state` and `set_state`,
if they use arrays and JSON; all attributes at every level of wrappers, if all of them
have a plain form; a replay from the last reset (`pgcli.envs.state.replay`). Otherwise
there is no state, only a reason.

A state is restored into a new environment that was constructed in the same way. Derived
values are restored as stored, not recomputed.
"""

import contextlib
import functools
import importlib.metadata
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from pgcli.envs.base import EnvState
from pgcli.envs.failures import PASSED, in_words
from pgcli.envs.state.decoding import Decoder, restore_vars
from pgcli.envs.state.encoding import CONSTRUCTION, Encoder, NotPlainError, Tree, digest
from pgcli.envs.state.physics_engines import NotRestoredError
from pgcli.envs.state.value_kinds import is_ordinary, is_random, is_space, name_of
from pgcli.errors import CheckpointError

_LIBRARIES = ("gymnasium", "numpy", "mujoco", "box2d", "box2d-py")

ATARI = (
    "the state that the Arcade Learning Environment stores is incomplete: Pong "
    "continued differently after it was restored"
)

MALFORMED = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""Exceptions that trees in another format can cause."""


@functools.cache
def libraries() -> Mapping[str, str]:
    """Versions of the libraries of environments, which may affect the results."""
    installed = {}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            installed[name] = importlib.metadata.version(name)
    return installed


def walk(env: Any) -> list[Any]:
    """An environment with its wrappers, outermost first."""
    from gymnasium import Wrapper
    from gymnasium.vector import VectorWrapper

    levels = [env]
    while isinstance(levels[-1], Wrapper | VectorWrapper):
        levels.append(levels[-1].env)
    return levels


def seed_spaces(env: Any, seed: int) -> None:
    """Seeds all spaces of an environment, since it may sample from them."""
    for level in walk(env):
        for value in vars(level).values():
            if is_space(value):
                value.seed(seed)


def _is_atari(levels: list[Any]) -> bool:
    """Whether it contains an emulator, whose random numbers cannot be replayed."""
    return any(
        type(value).__name__ == "ALEInterface"
        for level in levels
        for value in vars(level).values()
    )


def refused(reason: str) -> EnvState:
    """A state that only has the reason why there is none."""
    return EnvState({"way": "none", "reason": reason}, {})


def refusal(states: list[EnvState]) -> str | None:
    """The reason why some state cannot be restored, or None if all can."""
    for number, state in enumerate(states):
        if state.facts.get("way") == "none":
            return f"environment {number}: {state.facts['reason']}"
    return None


def capture(env: Any) -> EnvState:
    """The state of an environment between two steps, or why there is none."""
    levels = walk(env)
    if _is_atari(levels):
        return refused(ATARI)
    # one encoder for all levels, so that shared objects stay shared
    encoder = Encoder(levels)
    try:
        facts = [
            _encode_level(encoder, level, f"{number}.{type(level).__name__}")
            for number, level in enumerate(levels)
        ]
        encoder.check_memory()
    except NotPlainError as error:
        return refused(str(error))
    except PASSED:
        raise
    except BaseException as error:
        return refused(f"reading its state raised {in_words(error)}")
    return EnvState({"way": "plain", "levels": facts}, encoder.arrays)


def can_replay(env: Any, state: EnvState) -> bool:
    """Whether there is no plain state, but the episode can be replayed instead."""
    return refusal([state]) is not None and not _is_atari(walk(env))


def restore(env: Any, state: EnvState) -> None:
    """Restores a state into an environment that has just been made and reset.

    Raises:
      NotRestoredError: the environment differs from the captured one.
      CheckpointError: the state is of another environment, or damaged.
    """
    # the same wrappers, then their attributes in the order of encoding
    levels = walk(env)
    check_chain(state.facts, levels)
    decoder = Decoder(levels, state.arrays)
    try:
        for number, (level, tree) in enumerate(
            zip(levels, state.facts["levels"], strict=True)
        ):
            _decode_level(decoder, level, tree, f"{number}.{type(level).__name__}")
    except MALFORMED as error:
        raise malformed(error) from error


def first_obs(env: Any, state: EnvState, seed: int) -> Any:
    """The observation of the first reset, which also creates late attributes.

    Raises:
      NotRestoredError: the reset raised.
      CheckpointError: the state is of another environment.
    """
    check_chain(state.facts, walk(env))
    try:
        return env.reset(seed=seed)[0]
    except PASSED:
        raise
    except BaseException as error:
        raise NotRestoredError(f"reset: {in_words(error)}") from error


def malformed(error: Exception) -> CheckpointError:
    """The error for a state that does not have the format of `capture`."""
    return CheckpointError(
        f"the state of an environment is damaged: {type(error).__name__}: {error}"
    )


def check_chain(facts: Mapping[str, Any], levels: list[Any]) -> None:
    """Raises a CheckpointError if the wrappers differ from those in a state."""
    try:
        stored = [tree["class"] for tree in facts["levels"]]
    except MALFORMED as error:
        raise malformed(error) from error
    here = [name_of(type(level)) for level in levels]
    if stored != here:
        raise CheckpointError(
            f"the environment is {' of '.join(map(str, stored))} in the checkpoint "
            f"and {' of '.join(here)} in this configuration"
        )


def fingerprint(env: Any) -> dict[str, str]:
    """SHA-256 of every attribute that has a plain form, by level and name.

    Spaces are left out: a reset may make new ones and sample from them, without a
    seed. If the dynamics depend on it, a copy of the environment takes another course.
    """
    digests = {}
    for path, value in named_attributes(env):
        if is_space(value):
            continue
        # a new encoder each, so that one attribute without a form excludes no other
        encoder = Encoder(walk(env))
        with contextlib.suppress(NotPlainError):
            digests[path] = digest(encoder.encode(value, path), encoder.arrays)
    return digests


def named_attributes(env: Any) -> Iterator[tuple[str, Any]]:
    """Every attribute of every level, with its path."""
    for number, level in enumerate(walk(env)):
        for name, value in sorted(_attributes(level).items()):
            yield f"{number}.{type(level).__name__}.{name}", value


def random_numbers(env: Any) -> EnvState:
    """The random number generators of every level, by name."""
    levels = walk(env)
    encoder = Encoder(levels)
    trees = [
        _random_trees(encoder, level, str(number))
        for number, level in enumerate(levels)
    ]
    return EnvState({"levels": trees}, encoder.arrays)


def restore_random_numbers(env: Any, state: EnvState) -> None:
    """Restores the generators that `random_numbers` returned."""
    levels = walk(env)
    decoder = Decoder(levels, state.arrays)
    for number, (level, trees) in enumerate(
        zip(levels, state.facts["levels"], strict=True)
    ):
        for name, tree in trees.items():
            setattr(level, name, decoder.decode(tree, None, f"{number}.{name}"))


def _random_trees(encoder: Encoder, level: Any, path: str) -> dict[str, Tree]:
    return {
        name: encoder.encode(value, f"{path}.{name}")
        for name, value in sorted(_attributes(level).items())
        if is_random(value)
    }


def _attributes(level: Any) -> dict[str, Any]:
    attributes = vars(level).items()
    return {name: value for name, value in attributes if name not in CONSTRUCTION}


def _has_own_state(level: Any) -> bool:
    """Whether it has `get_state()` and `set_state(state)` with these arguments."""
    get, set_ = (getattr(level, name, None) for name in ("get_state", "set_state"))
    if not callable(get) or not callable(set_):
        return False

    # number of arguments without a default
    def required(function: Any) -> int:
        kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = inspect.signature(function).parameters.values()
        return sum(p.default is p.empty and p.kind not in kinds for p in parameters)

    return required(get) == 0 and required(set_) == 1


def _encode_level(encoder: Encoder, level: Any, path: str) -> Tree:
    # its own state, with the generators, which such states often omit
    head = {"class": name_of(type(level))}
    if _has_own_state(level):
        try:
            state = level.get_state()
        except PASSED:
            raise
        except BaseException as error:
            raise NotPlainError(
                f"{path}.get_state failed: {in_words(error)}"
            ) from error
        own = encoder.encode([state], f"{path}.get_state()")
        return {**head, "own": own, "random": _random_trees(encoder, level, path)}
    # else all attributes, if they are its only state
    if not is_ordinary(level):
        raise NotPlainError(f"{path} has state outside of its attributes")
    trees = {
        name: encoder.encode(value, f"{path}.{name}")
        for name, value in sorted(_attributes(level).items())
    }
    return {**head, "vars": trees}


def _decode_level(decoder: Decoder, level: Any, tree: Tree, path: str) -> None:
    if "own" not in tree:
        restore_vars(decoder, level, tree["vars"], path, but=CONSTRUCTION)
        return
    (state,) = decoder.decode(tree["own"], None, f"{path}.get_state()")
    try:
        level.set_state(state)
    except PASSED:
        raise
    except BaseException as error:
        raise NotRestoredError(f"{path}.set_state failed: {in_words(error)}") from error
    for name, random in tree["random"].items():
        setattr(level, name, decoder.decode(random, None, f"{path}.{name}"))
