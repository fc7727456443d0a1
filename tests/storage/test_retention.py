"""Which checkpoints are removed, and which are read for that."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pgcli.errors import CheckpointError
from pgcli.storage import checkpoint
from pgcli.storage.retention import Retention


def save(directory: Path, iteration: int, **meta: Any) -> Path:
    groups = {"agent": {"weight": np.full(3, iteration, np.float32)}}
    return checkpoint.save(directory, checkpoint.name_of(iteration), groups, meta)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def damage(path: Path) -> None:
    (path / "agent.safetensors").write_bytes(b"")


def test_prune_keeps_the_newest_and_the_protected(tmp_path: Path) -> None:
    for iteration in range(1, 7):
        save(tmp_path, iteration)
    Retention(tmp_path, 3, lambda meta: ()).prune({"000000002", "not-there"})
    assert [int(name) for name in names(tmp_path)] == [2, 4, 5, 6]


def test_prune_counts_only_what_verifies(tmp_path: Path) -> None:
    paths = [save(tmp_path, iteration) for iteration in range(1, 6)]
    damage(paths[3])
    Retention(tmp_path, 2, lambda meta: ()).prune()
    assert [int(name) for name in names(tmp_path)] == [3, 4, 5]


def test_prune_removes_leftovers_and_follows_no_link(tmp_path: Path) -> None:
    directory = tmp_path / "checkpoints"
    save(directory, 1)
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (directory / ".partial-000000002").mkdir()
    (directory / ".partial-000000002" / "link").symlink_to(outside)
    (directory / ".removing-000000003").symlink_to(outside)
    (directory / ".other").mkdir()
    Retention(directory, 2, lambda meta: ()).prune()
    assert names(directory) == [".other", "000000001"]
    assert names(outside) == ["kept"]


def test_prune_refuses_to_keep_fewer_than_two(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep is 1"):
        Retention(tmp_path, 1, lambda meta: ()).prune()


def test_prune_keeps_what_a_kept_checkpoint_refers_to(tmp_path: Path) -> None:
    for iteration in range(1, 6):
        save(tmp_path, iteration, best="000000001")
    Retention(tmp_path, 2, lambda meta: {meta["best"]}).prune()
    assert [int(name) for name in names(tmp_path)] == [1, 4, 5]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the checkpoints that were read, in order."""
    names_read: list[str] = []
    load = checkpoint.load

    def watched(path: Path, *args: Any) -> Any:
        names_read.append(path.name)
        return load(path, *args)

    monkeypatch.setattr(checkpoint, "load", watched)
    return names_read


def test_prune_reads_back_nothing_that_was_written_or_verified(
    tmp_path: Path, read: list[str]
) -> None:
    save(tmp_path, 1)
    retention = Retention(tmp_path, 2, lambda meta: ())
    retention.remember(save(tmp_path, 2), {})
    retention.prune()
    assert read == ["000000001"]
    retention.remember(save(tmp_path, 3), {})
    retention.prune()
    retention.verify("000000003")
    assert read == ["000000001"]
    assert [int(name) for name in names(tmp_path)] == [2, 3]


def test_prune_verifies_again_what_has_changed_since(
    tmp_path: Path, read: list[str]
) -> None:
    retention = Retention(tmp_path, 2, lambda meta: ())
    for iteration in range(1, 4):
        retention.remember(save(tmp_path, iteration), {})
    damage(tmp_path / "000000003")
    retention.prune()
    assert read == ["000000003"]
    assert [int(name) for name in names(tmp_path)] == [1, 2, 3]  # 1 and 2 verify
    with pytest.raises(CheckpointError, match=r"agent\.safetensors has 0 bytes"):
        retention.verify("000000003")
