"""Every number of the schema has bounds; what is outside of them is refused."""

import json
import math
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pgcli.cli.main import main
from pgcli.config import bounds
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.bounds import AtMost
from pgcli.config.explain import json_schema
from pgcli.config.fields import fields
from pgcli.config.load import ConfigError, resolve

DOCS = Path(__file__).parents[2] / "docs" / "configuration.md"


def numbers(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """(place, schema) of every number in the JSON schema."""
    if isinstance(tree, dict):
        if tree.get("type") in ("integer", "number"):
            yield ".".join(path), tree
        for key, value in tree.items():
            yield from numbers(value, (*path, key))
    elif isinstance(tree, list):
        for item in tree:
            yield from numbers(item, path)


def keys() -> Iterator[tuple[str, str]]:
    """(algorithm, path) of every numeric key."""
    seen = set()
    for algo in ALGORITHM_CONFIGS:
        for path, field in fields(algo).items():
            kind = field.kind.item or field.kind
            if kind.base in (int, float) and (path, kind) not in seen:
                seen.add((path, kind))
                yield algo, path


KEYS = list(keys())


def edges(path: str) -> tuple[float, float]:
    """The smallest and the largest value of a key, from the JSON schema."""
    found = [
        (
            tree.get("minimum", tree.get("exclusiveMinimum")),
            tree.get("maximum", tree.get("exclusiveMaximum")),
        )
        for place, tree in numbers(json_schema())
        if f".{place}".split(".properties.")[-1].split(".")[0]
        == path.rpartition(".")[2]
    ]
    return min(low for low, _ in found), max(high for _, high in found)


def test_every_number_of_the_schema_has_both_bounds() -> None:
    found = [(place, t) for place, t in numbers(json_schema()) if ".grid" not in place]
    assert len(found) > 50
    for place, tree in found:
        assert {"minimum", "exclusiveMinimum"} & tree.keys(), place
        assert {"maximum", "exclusiveMaximum"} & tree.keys(), place


def test_every_bound_is_documented_with_its_reason() -> None:
    page = DOCS.read_text(encoding="utf-8")
    for bound in vars(bounds).values():
        if isinstance(bound, AtMost):
            assert f"| {bound} |" in page.replace("±", ""), bound
            assert bound.reason in page, bound


def test_number_above_a_bound_is_refused_with_the_reason() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve(file=None, flags={}, sets=["env.num_envs=2000000"])
    assert caught.value.message == (
        "`env.num_envs` must be at most 1,048,576, not 2000000"
    )
    assert "random stream" in str(caught.value.help)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("optimizer.beta1", "0.99999999999"),  # 1 as float32: a division by 0
        ("optimizer.lr", "1e-46"),  # 0 as float32: nothing is learned
        ("optimizer.eps", "1e-39"),  # subnormal: 0 on most devices
        ("algo.clip_eps", "1e39"),
    ],
)
def test_float_that_reaches_a_bound_as_float32_is_refused(key: str, value: str) -> None:
    for given in (f"{key}={value}", f"grid={{{key}: [{value}]}}"):
        with pytest.raises(ConfigError, match=key):
            resolve(file=None, flags={}, sets=[given])


def outside(path: str) -> Iterator[str]:
    """Values around and far beyond the bounds of a key, without those inside."""
    low, high = edges(path)
    for value in (low - 1, high + 1, 2**31, 2**63, 1e300):
        if not low <= value <= high or math.isinf(value):
            yield f"{value:.0f}" if isinstance(value, int) else repr(float(value))


@pytest.mark.slow
@pytest.mark.parametrize(("algo", "path"), KEYS)
def test_numbers_outside_their_bounds_exit_2_at_once(
    algo: str, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    values = list(outside(path))
    assert len(values) >= 3
    for value in values:
        text = f"[{value}]" if path == "network.hidden" else value
        begin = time.monotonic()
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            words = ["--algo", algo, "--set", f"{path}={text}", "--json"]
            assert main(["train", "--dry-run", *words]) == 2, value
        answer = json.loads(capsys.readouterr().out)
        assert path in answer["error"]["message"], value
        assert time.monotonic() - begin < 60


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "x", "--episodes", "1000001"],
        ["eval", "x", "--seed", "4294967296"],
        ["resume", "x", "--steps", "9007199254740992"],
        ["train", "--seeds", "100000"],
        ["train", "--seed", "4294967296"],
        ["train", "--grid", "optimizer.lr=1e300"],
        ["train", "--seeds", "16384", "--grid", "optimizer.lr=1,2"],
        ["train", "--set", "network.hidden=" + json.dumps([1] * 65)],
        ["train", "--env", "CartPole-v1", "--set", "env.num_envs=16385"],
        ["ladder", "--env", "CartPole-v1", "--seeds", "1000000000000000000000"],
        ["ladder", "--env", "CartPole-v1", "--steps", "9007199254740992"],
    ],
)
def test_flags_beyond_their_bounds_exit_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["ok"] is False
