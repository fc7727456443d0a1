"""Action masks of environments: where they come from, and which forms they may have."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import jax
import numpy as np
import pytest

from pgcli.config.schema import EnvConfig
from pgcli.envs import user_modules
from pgcli.envs.action_masks import flat_mask
from pgcli.envs.actions import random_action
from pgcli.envs.base import (
    ActionMask,
    Box,
    Discrete,
    HostEnv,
    MultiBinary,
    MultiDiscrete,
    Space,
    mask_key,
    mask_source,
    split_mask,
    without_mask,
)
from pgcli.envs.host import env_factory
from pgcli.envs.make import make_device_env, make_host_env
from pgcli.envs.spaces import spec_from_json, spec_to_json
from pgcli.errors import EnvironmentFailed, UsageError
from pgcli.rollout.host_collector import empty_slot

SEEDS = [3, 4, 5]
SOURCES = {
    "info": "info['action_mask']",
    "key": "observation['action_mask']",
    "method": "action_masks()",
}
CHOICES = MultiDiscrete((2,), (2, 3), (0, 0))
SAME = MultiDiscrete((2,), (2, 2), (0, 0))


@pytest.fixture(autouse=True)
def _modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use(["cases.masks"])
    yield
    env_factory._SOURCES.clear()


def config(mask: str = "auto", **kwargs: Any) -> EnvConfig:
    return EnvConfig("Masked-v0", kwargs=kwargs, action_mask=mask)


def make(workers: Any = 0, mask: str = "auto", **kwargs: Any) -> HostEnv:
    return make_host_env(config(mask, **kwargs), SEEDS, workers=workers)


def play(env: HostEnv, num_steps: int = 20) -> list[Any]:
    """Observations and rewards under random valid actions: an invalid one raises."""
    slot, random = empty_slot(env), np.random.default_rng(0)
    env.reset(slot.obs)
    seen = []
    for _ in range(num_steps):
        mask = split_mask(env.spec.obs, slot.obs)[1]
        action = random_action(env.spec.action, (len(SEEDS),), random, mask)
        finals = env.step(action, slot)
        seen += [mask.copy(), slot.reward.copy(), *(obs for _, obs in finals)]
    return seen


@pytest.mark.parametrize("actions", ["choice", "choices", "bits", "tuple"])
@pytest.mark.parametrize("source", sorted(SOURCES))
def test_masks_of_every_source_are_found_and_valid(source: str, actions: str) -> None:
    with closing(make(source=source, actions=actions)) as env:
        assert mask_source(env.spec.obs) == SOURCES[source]
        assert without_mask(env.spec.obs) == Box((2,), "float32", -1.0, 1.0)
        assert spec_from_json(spec_to_json(env.spec)) == env.spec
        play(env)


@pytest.mark.parametrize("workers", ["thread", pytest.param(1, marks=pytest.mark.slow)])
def test_masks_are_the_same_with_helpers(workers: Any) -> None:
    with closing(make(source="key", actions="choices")) as here:
        expected = play(here)
    with closing(make(workers, source="key", actions="choices")) as env:
        found = play(env)
    for one, other in zip(found, expected, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
    ("mask", "kwargs"),
    [
        ("off", {"source": "info"}),
        ("auto", {"source": "nowhere"}),
        ("auto", {"actions": "box"}),
    ],
)
def test_environments_without_masks_stay_as_they_are(mask: str, kwargs: Any) -> None:
    with closing(make(mask=mask, **kwargs)) as env:
        assert mask_key(env.spec.obs) is None
        assert env.spec.obs == Box((2,), "float32", -1.0, 1.0)


def test_search_for_masks_leaves_the_environments_new() -> None:
    factory = env_factory.env_factory(config())
    assert factory().unwrapped._np_random is None
    assert factory.with_mask_source().action_mask == "action_mask"


@pytest.mark.parametrize(
    ("mask", "kwargs", "words"),
    [
        ("masks()", {}, "no such method"),
        ("action_mask", {"actions": "box"}, "actions of a Box"),
    ],
)
def test_masks_that_do_not_exist_are_refused(
    mask: str, kwargs: Any, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        make(mask=mask, **kwargs)
    assert "env.action_mask=off" in str(caught.value.help)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("missing", "has no `action_mask`"),
        ("none", "has no valid action"),
        ("values", "has values other than 0 and 1"),
        ("text", "has the shape ()"),
        ("shape", "has the shape (5,), not (4,)"),
    ],
)
@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_wrong_mask_names_environment_seed_and_step(
    workers: int, fault: str, words: str
) -> None:
    with (
        closing(make(workers, fault=fault)) as env,
        pytest.raises(EnvironmentFailed) as caught,
    ):
        play(env)
    error = caught.value
    assert words in error.message
    assert "of environment 0" in error.message
    assert "at its step 2" in error.message
    assert error.where == "environment Masked-v0, seed 3"
    assert "env.action_mask=off" in str(error.help)


def test_native_vectors_with_masks_are_refused() -> None:
    name = "MaskedVector-v0"
    import gymnasium

    gymnasium.register(name, "cases.masks:Masked", vector_entry_point="nowhere:Vector")
    try:
        with pytest.raises(UsageError, match="no action masks"):
            make_host_env(EnvConfig(name), SEEDS, vectorizer="native")
    finally:
        del gymnasium.registry[name]


@pytest.mark.parametrize(
    ("action", "given", "expected"),
    [
        (Discrete(3, start=5), [True, False, True], [1, 0, 1]),
        (Discrete(3), np.float32([0, 0, 1]), [0, 0, 1]),
        (CHOICES, np.int64([1, 0, 1, 1, 0]), [1, 0, 1, 1, 0]),
        (CHOICES, (np.int8([1, 0]), np.int8([0, 1, 1])), [1, 0, 0, 1, 1]),
        (SAME, np.int8([[1, 0], [1, 1]]), [1, 0, 1, 1]),
        (MultiBinary((2,)), np.int8([0, 1]), [1, 0, 1, 1]),
        (MultiBinary((2,)), np.int8([0, 1, 1, 1]), [0, 1, 1, 1]),
        (MultiBinary((2,)), np.int8([[0, 1], [1, 1]]), [0, 1, 1, 1]),
    ],
)
def test_every_form_of_a_mask_becomes_one(
    action: Space, given: Any, expected: Any
) -> None:
    mask = flat_mask(action, given)
    assert mask.dtype == np.int8
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(
    ("action", "given", "words"),
    [
        (Discrete(3), np.int8([[1, 0, 1]]), "shape"),
        (Discrete(3), [], "shape"),
        (Discrete(3), [1, np.nan, 1], "other than 0 and 1"),
        (CHOICES, (np.int8([1]), np.int8([0, 1, 1, 1])), r"parts of \(1, 4\) values"),
        (CHOICES, np.int8([1, 0, 0, 0, 0]), "for a component"),
        (MultiBinary((2,)), np.int8([0, 0, 1, 1]), "for a component"),
    ],
)
def test_other_forms_of_a_mask_are_refused(
    action: Space, given: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        flat_mask(action, given)


def test_device_masks_are_a_key_of_the_observation() -> None:
    env = make_device_env(EnvConfig("func:MaskedFunc"))
    mask = ActionMask((4,), (4,), "observation['action_mask']")
    assert env.spec.obs["action_mask"] == mask
    off = make_device_env(EnvConfig("func:MaskedFunc", action_mask="off"))
    assert off.spec.obs["action_mask"] == MultiBinary((4,))
    with pytest.raises(UsageError, match="one of several keys"):
        make_device_env(EnvConfig("func:MaskedFunc", action_mask="legal"))


def test_obs_keys_keep_the_mask() -> None:
    host = EnvConfig("Masked-v0", kwargs={"source": "key"}, obs_keys=("observation",))
    with closing(make_host_env(host, SEEDS)) as env:
        assert mask_key(env.spec.obs) == "action_mask"
        play(env)
    device = make_device_env(EnvConfig("func:MaskedFunc", obs_keys=("place",)))
    assert list(device.spec.obs) == ["place", "action_mask"]
