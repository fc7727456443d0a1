"""Checkpoints whose hashes are right, with content that pgcli would never write."""

import copy
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from support.resealing import reseal, reseal_file
from support.small_runs import resolved

from pgcli.errors import CheckpointError
from pgcli.storage import checkpoint
from pgcli.training.evaluation.saved_agents import load_agents
from pgcli.training.run import resume, train

NONSENSE = (None, -1, "2", "object", [], {}, True, 2**70, 1.5, "../x")
ABSENT = object()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A single run and one of two members, after one iteration."""
    path = tmp_path_factory.mktemp("runs")
    for name, *sets in (("alone",), ("several", "seeds=2")):
        given = resolved("func:CartPole-v1", "steps=32", "eval.every=32", *sets)
        train(given, runs_dir=path, name=name)
    return path


def last(run: Path) -> Path:
    return checkpoint.committed(run / "checkpoints")[-1]


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values in a tree, except settings, which have their own fuzz."""
    items = tree.items() if isinstance(tree, Mapping) else ()
    items = enumerate(tree) if isinstance(tree, list) else items
    for key, value in items:
        yield (*path, key)
        if key not in ("versions", "config", "last_row", "last_rows", "accelerator"):
            yield from places(value, (*path, key))


def put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    if value is ABSENT:
        del tree[path[-1]]
    else:
        tree[path[-1]] = value


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alone", "several"])
def test_nonsense_in_a_signed_manifest_is_refused_or_harmless(
    runs: Path, tmp_path: Path, name: str
) -> None:
    """Each value of the metadata becomes each kind of nonsense, or disappears."""
    path = shutil.copytree(last(runs / name), tmp_path / name / "checkpoints" / "9")
    meta = checkpoint.load(path).meta
    sound = (path / "manifest.json").read_bytes()
    refused = 0
    for place in places(meta):
        for value in (*NONSENSE, ABSENT):
            changed = copy.deepcopy(meta)
            put(changed, place, value)
            reseal(path, lambda tree, new=changed: tree.__setitem__("meta", new))
            try:
                load_agents(path)
            except CheckpointError:
                refused += 1
            (path / "manifest.json").write_bytes(sound)
    assert refused > 150


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("env", "obs", "dtype"), "object"),
        (("env", "action", "n"), -1),
        (("env", "action", "n"), "2"),
        (("env", "obs", "shape"), [-4]),
        (("log_offsets", "metrics"), "0"),
        (("best", "checkpoint"), "../../x"),
        (("skipped",), None),
        (("config", "env"), 3),
        (("last_row",), []),
    ],
)
def test_nonsense_in_a_signed_manifest_has_the_words_of_a_checkpoint(
    runs: Path, tmp_path: Path, place: tuple[Any, ...], value: Any
) -> None:
    run = shutil.copytree(runs / "alone", tmp_path / "alone")
    reseal(last(run), lambda tree: put(tree["meta"], place, value))
    with pytest.raises(CheckpointError, match="not a checkpoint of a run") as caught:
        load_agents(last(run))
    assert caught.value.help is not None


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("alone", ("log_offsets",), {"metrics": -5}),
        ("alone", ("best",), {"checkpoint": []}),
        ("several", ("members",), None),
        ("several", ("members", "diverged"), {"-1": "x"}),
        ("several", ("members", "last_rows"), [{"a": 1}]),
    ],
)
def test_resume_refuses_nonsense_in_a_signed_manifest(
    runs: Path, tmp_path: Path, name: str, place: tuple[Any, ...], value: Any
) -> None:
    run = shutil.copytree(runs / name, tmp_path / name)
    reseal(last(run), lambda tree: put(tree["meta"], place, value))
    with pytest.raises(CheckpointError, match="not a checkpoint of a run"):
        resume(run, steps=64)


@pytest.mark.parametrize("name", ["alone", "several"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_parameters_that_are_not_finite_are_refused_by_name(
    runs: Path, tmp_path: Path, name: str, value: float
) -> None:
    run = shutil.copytree(runs / name, tmp_path / name)
    arrays = checkpoint.load(last(run)).groups["agent"]
    key = next(key for key in arrays if "kernel" in key)
    arrays[key].flat[-1] = value
    reseal_file(last(run), "agent.safetensors", safetensors.numpy.save(arrays))
    for use in (load_agents, lambda path: resume(run, steps=64)):
        with pytest.raises(CheckpointError, match=r"kernel.* is not finite"):
            use(last(run))
