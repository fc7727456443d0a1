import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgcli.config.dump import flow
from pgcli.config.load import ConfigError, from_mapping, resolve, to_mapping, to_yaml
from pgcli.config.schema import OptimizerConfig
from pgcli.config.source import yaml_file

positive = st.floats(1e-30, 1e9)
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(
                st.characters(exclude_categories=("Cs",)), min_size=1, max_size=5
            ).filter(lambda key: key != "<<"),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def test_mapping_has_every_key_as_plain_data() -> None:
    config = from_mapping({})
    tree = to_mapping(config)
    assert json.loads(json.dumps(tree)) == tree
    assert list(tree) == [field.name for field in dataclasses.fields(config)]
    assert tree["network"]["hidden"] == [64, 64]
    assert tree["algo"]["name"] == "ppo2"


@given(lr=positive, seed=st.integers(0, 2**32 - 1))
def test_mapping_round_trip_is_exact(lr: float, seed: int) -> None:
    config = from_mapping({"optimizer": {"lr": lr}, "seed": seed})
    assert config.optimizer == OptimizerConfig(lr=lr)
    assert from_mapping(json.loads(json.dumps(to_mapping(config)))) == config


def test_from_mapping_derives_what_is_null() -> None:
    config = from_mapping({"steps": 200, "eval": {"every": None}})
    assert config.eval.every == 20  # 200 / 10


def test_from_mapping_does_not_change_what_it_is_given() -> None:
    tree: dict[str, Any] = {"algo": {"name": "ppo"}, "env": {"kwargs": {"a": 1}}}
    from_mapping(tree)
    assert tree == {"algo": {"name": "ppo"}, "env": {"kwargs": {"a": 1}}}


@pytest.mark.parametrize(
    "tree",
    [
        None,
        [],
        {"seed": "1"},
        {"env": {"id": "\ud800"}},
        {"env": {"kwargs": {"a": object()}}},
        {5: 6},
        {"env": {5: 6}},
        {"optimizer": {"lr": math.nan}},
        {"env": 3},
    ],
)
def test_from_mapping_refuses_what_is_no_configuration(tree: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        from_mapping(tree, source="runs/x/config.yaml")
    assert caught.value.where == "runs/x/config.yaml"
    caught.value.render().encode()


@given(plain)
def test_flow_reads_back_as_what_was_written(value: Any) -> None:
    text = f"key: {flow(value)}\n"
    document = yaml_file.parse(text, origin="f", where="f", rank=(2, 0))
    assert not document.issues
    assert document.tree == {"key": value}


@pytest.mark.parametrize(
    "text", ["true", "Null", "~", "", "1_0", "1e5", ".nan", "no", "a: b", "a #b", "é"]
)
def test_text_that_looks_like_something_else_stays_a_text(text: str) -> None:
    written = f"key: {flow(text)}\n"
    tree = yaml_file.parse(written, origin="f", where="f", rank=(2, 0)).tree
    assert tree == {"key": text}


def test_yaml_with_origins_reads_back_as_the_same_configuration(tmp_path: Path) -> None:
    sets = ["env.kwargs={a: [1, .inf], b: '1_0'}", "network.hidden=[]", "seed=7"]
    first = resolve(file=None, flags={}, sets=sets)
    path = tmp_path / "shown.yaml"
    for text in (to_yaml(first.config), to_yaml(first.config, first.origins)):
        path.write_text(text)
        assert resolve(file=path, flags={}, sets=[]).config == first.config
