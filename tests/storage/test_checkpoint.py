"""Saving and loading without faults, and arguments that are refused."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgcli.errors import CheckpointError
from pgcli.storage import checkpoint, manifest

STORED = Path(__file__).parents[1] / "golden" / "checkpoint-format-1"


def save(directory: Path, iteration: int, **meta: Any) -> Path:
    groups = {"agent": {"weight": np.full(3, iteration, np.float32)}}
    return checkpoint.save(directory, checkpoint.name_of(iteration), groups, meta)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def damage(path: Path) -> None:
    (path / "agent.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=np.float64).reshape(2, 3).T,
        np.arange(10, dtype=np.int16)[::3],
        np.array(2**53 + 1, np.int64),
        np.array([2**64 - 1], np.uint64),
        np.array([True, False]),
        np.array([np.nan, -0.0, np.inf], np.float16),
        np.zeros((0, 4), np.float32),
        np.arange(3, dtype=">i4"),
        np.float32(0.1),
    ],
)
def test_load_returns_the_bytes_that_were_saved(tmp_path: Path, array: Any) -> None:
    path = checkpoint.save(tmp_path, "1", {"agent": {"a/b.c": array}}, {})
    loaded = checkpoint.load(path).groups["agent"]["a/b.c"]
    assert loaded.dtype == array.dtype.newbyteorder("=")
    assert loaded.shape == array.shape
    expected = np.asarray(array).astype(loaded.dtype)
    assert loaded.tobytes() == expected.tobytes()  # NaN and -0.0 too


def test_load_returns_arrays_of_their_own(tmp_path: Path) -> None:
    loaded = checkpoint.load(save(tmp_path, 1)).groups["agent"]["weight"]
    loaded += 1
    assert loaded.tolist() == [2.0, 2.0, 2.0]


def test_meta_comes_back_as_json_has_it(tmp_path: Path) -> None:
    meta = {"steps": 2**53, "lr": 3e-4, "hidden": (64, 64), "ü": [None, True, "\ud800"]}
    path = checkpoint.save(tmp_path, "1", {}, {**meta, "best": np.float32(0.5)})
    assert checkpoint.load(path).meta == {**meta, "hidden": [64, 64], "best": 0.5}


@pytest.mark.parametrize("value", [float("nan"), np.float32("inf"), {"x": -np.inf}])
def test_save_refuses_meta_that_is_not_finite(tmp_path: Path, value: Any) -> None:
    with pytest.raises(ValueError, match=r"meta\.best.* finite"):
        save(tmp_path, 1, best=value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("value", [np.zeros(2), {1: 2}, {1, 2}, object()])
def test_save_refuses_meta_that_is_no_json(tmp_path: Path, value: Any) -> None:
    with pytest.raises(TypeError, match=r"meta\.thing"):
        save(tmp_path, 1, thing=value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("dtype", [object, "U3", "datetime64[s]", np.complex128])
def test_save_refuses_dtypes_that_would_not_load(tmp_path: Path, dtype: Any) -> None:
    with pytest.raises(TypeError, match=r"agent\.w"):
        checkpoint.save(tmp_path, "1", {"agent": {"w": np.zeros(2, dtype)}}, {})
    assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "1.damaged", "1\n", "-1"])
def test_save_refuses_names_and_groups_that_are_paths(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="cannot name a checkpoint"):
        checkpoint.save(tmp_path, name, {}, {})
    if name != "-1":
        with pytest.raises(ValueError, match="cannot name a group"):
            checkpoint.save(tmp_path, "1", {name: {}}, {})


def test_save_of_the_same_content_again_changes_nothing(tmp_path: Path) -> None:
    path = save(tmp_path, 1, at=1)
    before = (path / manifest.NAME).stat().st_ino
    assert save(tmp_path, 1, at=1) == path
    assert (path / manifest.NAME).stat().st_ino == before


def test_save_of_other_content_under_a_taken_name_keeps_the_old(tmp_path: Path) -> None:
    path = save(tmp_path, 1, at=1)
    with pytest.raises(FileExistsError):
        save(tmp_path, 1, at=2)
    assert checkpoint.load(path).meta == {"at": 1}


def test_save_sets_a_damaged_namesake_aside(tmp_path: Path) -> None:
    for count in range(3):
        path = save(tmp_path, 1, at=count)
        damage(path)
    save(tmp_path, 1)
    assert names(tmp_path) == [
        "000000001",
        "000000001.damaged",
        "000000001.damaged2",
        "000000001.damaged3",
    ]


def test_save_is_the_same_bytes_each_time(tmp_path: Path) -> None:
    one, two = (save(tmp_path / name, 1, at=1) for name in "ab")
    for name in names(one):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_save_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    save(tmp_path, 1)
    partial = ".partial-000000001"
    assert synced == ["agent.safetensors", manifest.NAME, partial, tmp_path.name]


def test_load_of_some_groups_reads_no_others(tmp_path: Path) -> None:
    groups = {"agent": {"a": np.ones(1)}, "learner": {"b": np.ones(1)}}
    path = checkpoint.save(tmp_path, "1", groups, {})
    (path / "learner.safetensors").unlink()
    assert list(checkpoint.load(path, ["agent"]).groups) == ["agent"]
    with pytest.raises(CheckpointError, match="has no env; it has agent, learner"):
        checkpoint.load(path, ["agent", "env"])
    with pytest.raises(CheckpointError, match="has no env; it has agent") as caught:
        checkpoint.load(path, ["agent"]).require(["env"])
    assert caught.value.where == str(path)


def test_load_of_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint here") as caught:
        checkpoint.load(tmp_path / "none")
    assert caught.value.where == str(tmp_path / "none")


def test_load_refuses_a_newer_format_by_name(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    body = {"format": 2, "later": []}
    digest = manifest.sha256(json.dumps(body, indent=1).encode() + b"\n")
    text = json.dumps({**body, "sha256": digest}, indent=1) + "\n"
    (path / manifest.NAME).write_text(text)
    with pytest.raises(CheckpointError, match=r"format 2 is newer .* format 1"):
        checkpoint.load(path)
    with pytest.raises(CheckpointError, match="format 2"):  # not damage
        checkpoint.newest_verified(tmp_path)
    assert names(tmp_path) == ["000000001"]


@pytest.mark.parametrize("code", [errno.EACCES, errno.EMFILE, errno.ENOMEM])
def test_load_hindered_by_the_system_is_no_damage(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, 1)
    open_ = os.open

    def hindered(path: Any, *rest: Any, **named: Any) -> int:
        if path == manifest.NAME:
            raise OSError(code, os.strerror(code), path)
        return open_(path, *rest, **named)

    monkeypatch.setattr(os, "open", hindered)
    with pytest.raises(CheckpointError, match=os.strerror(code)):
        checkpoint.newest_verified(tmp_path)
    assert names(tmp_path) == ["000000001"]


def test_stored_checkpoint_of_format_1_loads() -> None:
    loaded = checkpoint.load(STORED)
    assert loaded.groups["agent"]["weight"].tolist() == [[0.0, 0.5], [1.0, 1.5]]
    assert loaded.groups["learner"]["count"] == 2**40
    assert loaded.meta["counters"] == {"iteration": 140, "steps": 2**53}


def test_committed_lists_iterations_oldest_first(tmp_path: Path) -> None:
    for iteration in (10, 9, 1_000_000_000, 2):
        save(tmp_path, iteration)
    (tmp_path / ".partial-000000011").mkdir()
    (tmp_path / "000000003.damaged").mkdir()
    iterations = [int(path.name) for path in checkpoint.committed(tmp_path)]
    assert iterations == [2, 9, 10, 1_000_000_000]
    assert checkpoint.committed(tmp_path / "none") == []


def test_newest_verified_falls_back_past_all_damage(tmp_path: Path) -> None:
    paths = [save(tmp_path, iteration) for iteration in range(1, 5)]
    damage(paths[2])
    damage(paths[3])
    newest, damaged = checkpoint.newest_verified(tmp_path)
    assert newest.path == paths[1]
    assert newest.meta == checkpoint.load(paths[1]).meta
    assert [path.name for path in damaged] == ["000000004.damaged", "000000003.damaged"]


def test_newest_verified_without_any_says_which_kind_of_none(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        checkpoint.newest_verified(tmp_path)
    damage(save(tmp_path, 1))
    with pytest.raises(CheckpointError, match="no checkpoint is left that verifies"):
        checkpoint.newest_verified(tmp_path)
