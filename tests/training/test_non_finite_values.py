"""Errors for values that are not finite name field, step and environment."""

from functools import cache, partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from support.toys import CONTINUOUS, DISCRETE, FLAT, quick_jit, random_transitions

from pgcli.envs.base import Discrete, EnvSpec, MultiBinary, MultiDiscrete, Space
from pgcli.errors import DivergedError, EnvironmentFailed, ExitCode, PgcliError
from pgcli.rollout.types import Transitions
from pgcli.training.loops.base import to_row, to_words
from pgcli.training.rollout_faults import first_fault
from pgcli.training.step import Report

STEPS, ENVS = 5, 4


@cache
def look(space: Any = FLAT) -> Any:
    return quick_jit(partial(first_fault, space=space))


def spoiled(
    *places: tuple[str, Any], value: float = np.nan, action: Space = DISCRETE
) -> Transitions:
    """Transitions with a value at each (field, index)."""
    transitions = random_transitions(action, 0, STEPS, ENVS)
    for field, index in places:
        leaf = np.array(getattr(transitions, field))
        leaf[index] = value
        transitions = transitions.replace(**{field: leaf})
    return transitions


def error_of(
    transitions: Transitions, kind: type[PgcliError] = EnvironmentFailed
) -> PgcliError:
    """The error of `to_row` for an iteration with these transitions."""
    words = jnp.asarray(to_words(STEPS * ENVS))
    report = Report({}, words, words, look()(transitions), np.True_)
    with pytest.raises(kind) as raised:
        to_row(report, 7, EnvSpec("Some-v0", FLAT, DISCRETE))
    assert "optimizer.lr" in str(raised.value.help)
    return raised.value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("field", "index", "words"),
    [
        ("reward", (3, 2), "reward of environment 2 is not finite at step 3 of"),
        ("obs", (4, 1, 1), "observation of environment 1 is not finite at step 3 of"),
        ("obs", (0, 3, 0), "observation of environment 3 is not finite when it was"),
        ("final_obs", (1, 0), "last observation of an episode is not finite"),
    ],
)
def test_value_that_is_not_finite_is_named(
    field: str, index: Any, words: str, value: float
) -> None:
    error = error_of(spoiled((field, index), value=value))
    assert words in error.message
    assert "iteration 7" in error.message
    assert "envs check" in str(error.help)
    assert error.where == "environment Some-v0"
    assert error.exit_code == ExitCode.ENVIRONMENT


def test_action_that_is_not_finite_is_not_laid_to_the_environment() -> None:
    # within a step the action comes first; it is computed by the agent
    places = ("reward", (2, 1)), ("obs", (3, 1)), ("action", (2, 1))
    error = error_of(spoiled(*places, action=CONTINUOUS), DivergedError)
    assert "action of environment 1 is not finite at step 2" in error.message
    assert "envs check" not in str(error.help)


def test_first_of_several_is_named() -> None:
    places = ("obs", (slice(2, None), slice(1, None))), ("reward", (slice(3, None)))
    message = error_of(spoiled(*places)).message
    assert "observation of environment 1 is not finite at step 1" in message


def test_last_observation_of_a_whole_episode_is_of_its_last_step() -> None:
    transitions = spoiled(("obs", (STEPS, 2)))
    weight = transitions.weight.copy()
    weight[3:, 2] = 0  # the episode has three steps
    message = error_of(transitions.replace(weight=weight)).message
    assert "environment 2 is not finite at step 2" in message


def test_nothing_is_named_where_all_is_finite() -> None:
    fault = look()(random_transitions(DISCRETE, 0, STEPS, ENVS))
    assert fault[0] == -1


def test_whole_numbers_are_always_finite() -> None:
    transitions = random_transitions(DISCRETE, 0, STEPS, ENVS)
    whole = transitions.replace(
        obs=transitions.obs.astype(np.int32),
        final_obs=transitions.final_obs.astype(np.int32),
    )
    assert look()(whole)[0] == -1


CATEGORIES = [
    (Discrete(3, start=1), (), 4),
    (MultiDiscrete((2,), (3, 4), (0, 0)), (1,), 4),
    (MultiBinary((2,)), (0,), -1),
]


def error_in_parts(obs: dict[str, Any], parts: dict[str, Space]) -> PgcliError:
    """The error for observations of a Dict space."""
    transitions = random_transitions(DISCRETE, 0, STEPS, ENVS).replace(
        obs=obs, final_obs=np.zeros((3, 2), np.float32)
    )
    words = jnp.asarray(to_words(STEPS * ENVS))
    fault = first_fault(transitions, parts)
    report = Report({}, words, words, fault, np.True_)
    with pytest.raises(PgcliError) as raised:
        to_row(report, 7, EnvSpec("toy", parts, DISCRETE))
    return raised.value


@pytest.mark.parametrize(("space", "element", "value"), CATEGORIES)
def test_category_outside_its_space_is_named_with_its_key(
    space: Any, element: tuple[int, ...], value: int
) -> None:
    kind = np.full((STEPS + 1, ENVS, *space.shape), 1, space.dtype)
    kind[(3, 2, *element)] = value
    flat = np.zeros((STEPS + 1, ENVS, 2), np.float32)
    error = error_in_parts({"kind": kind, "flat": flat}, {"kind": space, "flat": FLAT})
    assert isinstance(error, EnvironmentFailed)
    assert error.message == (
        "the observation['kind'] of environment 2 is outside its space at step 2 of "
        "the rollout (iteration 7)"
    )


def test_key_of_a_value_that_is_not_finite_is_named() -> None:
    low, high = (np.zeros((STEPS + 1, ENVS, 2), np.float32) for _ in range(2))
    high[4, 1, 0] = np.nan
    error = error_in_parts({"low": low, "high": high}, {"low": FLAT, "high": FLAT})
    assert isinstance(error, EnvironmentFailed)
    assert "the observation['high'] of environment 1 is not finite" in error.message


def test_padding_is_no_category_outside_its_space() -> None:
    transitions = random_transitions(DISCRETE, 0, STEPS, ENVS)
    obs = np.full((STEPS + 1, ENVS), 5, np.int32)
    obs[3:, 1] = 0  # after the end of an episode of three steps
    weight = transitions.weight.copy()
    weight[3:, 1] = 0
    padded = transitions.replace(obs=obs, weight=weight)
    assert first_fault(padded, Discrete(2, start=5))[0] == -1
