"""Every file operation of saving, pruning and setting aside fails or kills once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.disk_faults import (
    CODES,
    Failing,
    Killed,
    Killing,
    PowerLoss,
    Recording,
    Tree,
    count,
    intercept,
    restore,
    snapshot,
)

from pgcli.errors import CheckpointError
from pgcli.storage import checkpoint
from pgcli.storage.files import remove_tree
from pgcli.storage.retention import Retention


def groups(iteration: int) -> dict[str, dict[str, np.ndarray]]:
    return {
        "agent": {"weight": np.arange(6, dtype=np.float32) + iteration},
        "learner": {"count": np.array(iteration, np.int64)},
    }


def save(directory: Path, iteration: int) -> Path:
    name = checkpoint.name_of(iteration)
    return checkpoint.save(directory, name, groups(iteration), {"at": iteration})


def is_whole(path: Path) -> bool:
    stored = checkpoint.load(path)
    expected = groups(stored.meta["at"])
    return path.name == checkpoint.name_of(stored.meta["at"]) and all(
        np.array_equal(array, stored.groups[group][name])
        for group, arrays in expected.items()
        for name, array in arrays.items()
    )


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def full(root: Path, iterations: int) -> Path:
    directory = root / "checkpoints"
    for iteration in range(1, iterations + 1):
        save(directory, iteration)
    return directory


def prune(directory: Path) -> None:
    Retention(directory, 2, lambda meta: ()).prune({checkpoint.name_of(1)})


def each_n(root: Path, action: Callable[[Path], object], saved: int) -> range:
    """The numbers of an action's operations, counted on a copy of its own."""
    total = count(lambda: action(full(root / "count", saved)))
    return range(total - count(lambda: full(root / "base", saved)))


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("code", CODES)
def test_save_failing_at_any_operation_keeps_the_old(
    tmp_path: Path, code: int, lasting: bool
) -> None:
    numbers = each_n(tmp_path, lambda d: save(d, 3), 2)
    # 3 files x (open, write, sync), a mkdir, a rename, 2 syncs of directories
    assert len(numbers) == 3 * 3 + 4
    for n in numbers:
        directory = full(tmp_path / f"fail{n}", 2)
        failing = Failing(n, code, lasting)
        with intercept(failing), pytest.raises(OSError, match="Errno"):
            save(directory, 3)
        found = [int(path.name) for path in checkpoint.committed(directory)]
        assert found in ([1, 2], [1, 2, 3])
        assert (3 in found) == (n == numbers[-1])  # all but the last sync came to pass
        assert all(is_whole(path) for path in checkpoint.committed(directory))
        if not lasting or n == 0:
            assert all(name.isdigit() for name in names(directory))
        assert is_whole(save(directory, 3))  # and the disk has room again
        assert all(name.isdigit() for name in names(directory))


@pytest.mark.parametrize("torn", [False, True])
def test_save_killed_after_any_operation_resumes_from_a_whole_one(
    tmp_path: Path, torn: bool
) -> None:
    for n in each_n(tmp_path, lambda d: save(d, 3), 2):
        directory = full(tmp_path / f"kill{n}", 2)
        with intercept(Killing(n, torn)), pytest.raises(Killed):
            save(directory, 3)
        newest, damaged = checkpoint.newest_verified(directory)
        assert is_whole(newest.path)
        assert int(newest.path.name) in (2, 3)
        assert damaged == []
        save(directory, 3)
        save(directory, 4)
        prune(directory)
        assert names(directory) == [checkpoint.name_of(i) for i in (1, 3, 4)]


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("code", CODES)
def test_prune_failing_at_any_operation_keeps_the_newest_two_and_the_best(
    tmp_path: Path, code: int, lasting: bool
) -> None:
    for n in each_n(tmp_path, prune, 5):
        directory = full(tmp_path / f"fail{n}", 5)
        failing = Failing(n, code, lasting)
        with intercept(failing), pytest.raises(OSError, match="Errno"):
            prune(directory)
        found = checkpoint.committed(directory)
        assert {1, 4, 5} <= {int(path.name) for path in found}
        assert all(is_whole(path) for path in found)
        prune(directory)
        assert names(directory) == [checkpoint.name_of(i) for i in (1, 4, 5)]


def test_prune_killed_after_any_operation_leaves_whole_checkpoints_only(
    tmp_path: Path,
) -> None:
    for n in each_n(tmp_path, prune, 5):
        directory = full(tmp_path / f"kill{n}", 5)
        with intercept(Killing(n, False)), pytest.raises(Killed):
            prune(directory)
        found = checkpoint.committed(directory)
        assert {1, 4, 5} <= {int(path.name) for path in found}
        assert all(is_whole(path) for path in found)
        prune(directory)
        assert names(directory) == [checkpoint.name_of(i) for i in (1, 4, 5)]


def damage_newest(root: Path) -> Path:
    directory = full(root, 3)
    path = directory / checkpoint.name_of(3) / "agent.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    return directory


@pytest.mark.parametrize("code", CODES)
def test_resume_failing_to_set_aside_falls_back_all_the_same(
    tmp_path: Path, code: int
) -> None:
    for n in range(2):  # the rename, the sync of the directory
        directory = damage_newest(tmp_path / str(n))
        with intercept(Failing(n, code, True)):
            newest, damaged = checkpoint.newest_verified(directory)
        assert int(newest.path.name) == 2
        assert len(damaged) == 1
        assert checkpoint.newest_verified(directory)[0].path == newest.path


def test_resume_killed_while_setting_aside_can_be_repeated(tmp_path: Path) -> None:
    for n in range(2):
        directory = damage_newest(tmp_path / str(n))
        with intercept(Killing(n, False)), pytest.raises(Killed):
            checkpoint.newest_verified(directory)
        assert checkpoint.newest_verified(directory)[0].meta == {"at": 2}
        assert checkpoint.name_of(3) + ".damaged" in names(directory)


def remaining(root: Path, actions: Callable[[Path], object]) -> list[Tree]:
    """What a power loss can leave, at every moment of `actions` after two saves."""
    directory = full(root, 2)
    model, recording = PowerLoss(root), Recording()
    with intercept(recording):
        actions(directory)
    trees = list(model.states())
    for operation in recording.operations:
        model.apply(operation)
        trees += model.states()
    assert next(model.states()) == snapshot(root)  # the model keeps up with the disk
    return [tree for i, tree in enumerate(trees) if tree not in trees[:i]]


def test_power_loss_in_a_save_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    trees = remaining(tmp_path / "live", lambda directory: save(directory, 3))
    assert len(trees) > 20
    newest = set()
    for index, tree in enumerate(trees):
        root = tmp_path / str(index)
        restore(tree, root)
        found, damaged = checkpoint.newest_verified(root / "checkpoints")
        assert is_whole(found.path)
        assert damaged == []  # what has its final name is whole
        newest.add(int(found.path.name))
        remove_tree(root)
    assert newest == {2, 3}


def test_power_loss_in_saves_and_prunes_never_reaches_the_newest_two(
    tmp_path: Path,
) -> None:
    def actions(directory: Path) -> None:
        for iteration in (3, 4):
            save(directory, iteration)
            Retention(directory, 2, lambda meta: ()).prune()

    for index, tree in enumerate(remaining(tmp_path / "live", actions)):
        root = tmp_path / str(index)
        restore(tree, root)
        found = checkpoint.committed(root / "checkpoints")
        assert len(found) >= 2
        assert all(is_whole(path) for path in found)
        remove_tree(root)


def test_power_loss_after_a_reported_save_has_it(tmp_path: Path) -> None:
    root = tmp_path / "live"
    directory = full(root, 2)
    model, recording = PowerLoss(root), Recording()
    with intercept(recording):
        save(directory, 3)
    for operation in recording.operations:
        model.apply(operation)
    for index, tree in enumerate(model.states()):
        restore(tree, tmp_path / str(index))
        newest, _ = checkpoint.newest_verified(tmp_path / str(index) / "checkpoints")
        assert int(newest.path.name) == 3


def test_no_checkpoint_left_is_said_not_begun_anew(tmp_path: Path) -> None:
    directory = full(tmp_path, 1)
    (directory / checkpoint.name_of(1) / "agent.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"set aside: 000000001\.damaged"):
        checkpoint.newest_verified(directory)
