"""What is not finite is named: field, step and environment."""

from functools import cache
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from rollout.toys import DISCRETE, quick_jit, random_transitions

from pgcli.errors import DivergedError
from pgcli.rollout.types import Transitions
from pgcli.train.loop import to_row, to_words
from pgcli.train.step import Report, first_fault

STEPS, ENVS = 5, 4


@cache
def look() -> Any:
    return quick_jit(first_fault)


def spoiled(field: str, place: tuple[int, ...], value: float) -> Transitions:
    transitions = random_transitions(DISCRETE, 0, STEPS, ENVS)
    leaf = np.array(getattr(transitions, field))
    leaf[place] = value
    return transitions.replace(**{field: leaf})


def told(transitions: Transitions) -> str:
    """What the row of such an iteration fails with."""
    words = jnp.asarray(to_words(STEPS * ENVS))
    report = Report({}, words, words, look()(transitions), np.True_)
    with pytest.raises(DivergedError) as raised:
        to_row(report, 7)
    assert "envs check" in str(raised.value.help)
    return raised.value.message


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("field", "place", "words"),
    [
        ("reward", (3, 2), "reward of environment 2 is not finite at step 3"),
        ("obs", (4, 1, 1), "observation of environment 1 is not finite at step 3"),
        ("obs", (0, 3, 0), "observation of environment 3 is not finite when it is"),
        ("final_obs", (1, 0), "last observation of an episode is not finite"),
    ],
)
def test_value_that_is_not_finite_is_named(
    field: str, place: tuple[int, ...], words: str, value: float
) -> None:
    message = told(spoiled(field, place, value))
    assert words in message
    assert "iteration 7" in message


def test_first_of_several_is_named() -> None:
    transitions = spoiled("obs", (slice(2, None), slice(1, None)), np.nan)
    assert "environment 1 is not finite at step 1" in told(transitions)


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
