"""`env.wrappers` and `--env-kwargs` in the configuration stage."""

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from pgcli.config.env_wrappers import MINIGRID, REFUSED, WRAPPERS
from pgcli.config.load import ConfigError, from_mapping, resolve, to_mapping, to_yaml


def resolved(*sets: str, env_kwargs: tuple[str, ...] = ()) -> Any:
    return resolve(
        file=None, flags={}, sets=sets, env_kwargs=env_kwargs, use_preset=False
    )


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_take_the_arguments_that_are_listed(name: str) -> None:
    wrapper = WRAPPERS[name]
    if wrapper.module == MINIGRID:
        pytest.importorskip("minigrid")
    cls = getattr(importlib.import_module(wrapper.module), name)
    given = list(inspect.signature(cls.__init__).parameters.values())[2:]
    needed = {p.name for p in given if p.default is inspect.Parameter.empty}
    listed = {*wrapper.required, *wrapper.optional}
    assert needed == set(wrapper.required)
    assert {p.name for p in given} >= listed


def test_no_wrapper_is_both_known_and_refused() -> None:
    assert not WRAPPERS.keys() & REFUSED.keys()


def test_wrappers_survive_being_stored(tmp_path: Path) -> None:
    text = "[FlattenObservation, {FrameStackObservation: {stack_size: 4}}]"
    config = resolved(f"env.wrappers={text}").config
    expected = ("FlattenObservation", {"FrameStackObservation": {"stack_size": 4}})
    assert config.env.wrappers == expected
    assert from_mapping(to_mapping(config)) == config
    file = tmp_path / "config.yaml"
    file.write_text(to_yaml(config), encoding="utf-8")
    assert resolve(file=file, flags={}, sets=[]).config == config


@pytest.mark.parametrize(
    ("item", "message", "help"),
    [
        ("FlatenObservation", "no wrapper `FlatenObservation`", "FlattenObservation"),
        ("framestack", "no wrapper `framestack`", "FrameStackObservation"),
        ("zzz", "no wrapper `zzz`", "there are DelayObservation"),
        ("my_pkg.Mine", "no wrapper `my_pkg.Mine`", "my_pkg:Mine"),
        ("my_pkg:1", "is not MODULE:NAME", "my_pkg:MyWrapper"),
        ("{name: TimeLimit, steps: 5}", "must be a name", "such as"),
        ("{name: DelayObservation, kwargs: {d: 1, delay: 1}}", "no argument `d`", ""),
        ("FrameStackObservation", "needs `stack_size`", "{stack_size: …}"),
        ("{FrameStackObservation: {n: 4, stack_size: 4}}", "no argument `n`", "there"),
        ("{FlattenObservation: {n: 4}}", "no argument `n`", "takes none"),
        ("{RescaleAction: {min_action: -1}}", "needs `max_action`", "max_action"),
        ("NormalizeReward", "refused", "`normalize.reward`"),
        ("{ClipReward: {min_reward: -1}}", "refused", "`normalize.reward`"),
        ("NormalizeObservation", "refused", "`normalize.obs`"),
        ("TimeLimit", "refused", "`env.max_episode_steps`"),
    ],
)
def test_wrappers_that_do_not_fit_are_explained(
    item: str, message: str, help: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(f"env.wrappers=[TimeAwareObservation, {item}]")
    [issue] = caught.value.issues
    assert issue.message.startswith("`env.wrappers[1]`")
    assert message in issue.message
    assert help in (issue.help or "")


@pytest.mark.parametrize(
    "other",
    ["env.id=func:CartPole-v1", "env.id=envpool:Ant-v4", "host.vectorizer=native"],
)
def test_wrappers_are_for_environments_stepped_one_by_one(other: str) -> None:
    with pytest.raises(ConfigError, match=r"env\.wrappers"):
        resolved("env.wrappers=[FlattenObservation]", other)


def test_env_kwargs_are_keys_of_env_kwargs() -> None:
    found = resolved(
        "env.kwargs.late=1", env_kwargs=("size=5", "a.b=x", '{"c": [1, 2], "late": 0}')
    )
    expected = {"size": 5, "a": {"b": "x"}, "c": [1, 2], "late": 1}
    assert found.config.env.kwargs == expected
    assert found.origins["env.kwargs"] == "--set"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("size", "`--env-kwargs` needs a name and a value"),
        ("size=", "no value for `size`"),
        ("{a: 1", "--env-kwargs"),
    ],
)
def test_env_kwargs_that_are_none_are_shown(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(env_kwargs=(text,))
    assert message in caught.value.render()
