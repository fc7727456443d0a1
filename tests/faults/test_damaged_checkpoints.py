"""Damaged and hostile checkpoints: each is refused, none is silently wrong."""

import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from support.resealing import reseal, reseal_file

from pgcli.errors import CheckpointError
from pgcli.storage import checkpoint, manifest
from pgcli.storage.manifest import DamagedError

GROUPS = {
    "agent": {"weight": np.arange(8, dtype=np.float32)},
    "learner": {"moment": np.ones(8, np.float32), "count": np.array(3)},
}
FILES = ("agent.safetensors", "learner.safetensors", manifest.NAME)


def make(directory: Path, iteration: int = 1) -> Path:
    meta = {"iteration": iteration, "best": 0.25, "env": {"id": "CartPole-v1"}}
    shifted = {g: {n: a + iteration for n, a in d.items()} for g, d in GROUPS.items()}
    return checkpoint.save(directory, checkpoint.name_of(iteration), shifted, meta)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path)


def assert_refused(path: Path, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        checkpoint.load(path)
    assert caught.value.exit_code == 4
    assert caught.value.where is not None
    assert str(path) in caught.value.where


def flips(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Every byte of `data` with one bit flipped, the bits in turn."""
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= 1 << position % 8
        yield position, bytes(changed)


@pytest.mark.parametrize("name", FILES)
def test_load_refuses_a_flipped_bit_in_every_byte(path: Path, name: str) -> None:
    for _, changed in flips((path / name).read_bytes()):
        (path / name).write_bytes(changed)
        assert_refused(path)


@pytest.mark.parametrize("name", FILES)
def test_load_refuses_every_truncation_and_an_extension(path: Path, name: str) -> None:
    data = (path / name).read_bytes()
    for length in range(len(data)):
        (path / name).write_bytes(data[:length])
        assert_refused(path)
    (path / name).write_bytes(data + b"\n")
    assert_refused(path)


def test_load_refuses_random_overwrites(path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(500):
        name = FILES[number % 3]
        data = (path / name).read_bytes()
        start, length = random.integers(len(data)), random.integers(1, 64)
        junk = random.bytes(length)
        changed = (data[:start] + junk + data[start + length :])[: len(data)]
        if changed == data:
            continue
        (path / name).write_bytes(changed)
        assert_refused(path)
        (path / name).write_bytes(data)


def test_load_refuses_a_bit_flip_in_the_format_as_damage(path: Path) -> None:
    data = (path / manifest.NAME).read_bytes()
    (path / manifest.NAME).write_bytes(data.replace(b'"format": 1', b'"format": 3'))
    with pytest.raises(DamagedError):
        checkpoint.load(path)


@pytest.mark.parametrize("name", FILES)
def test_load_refuses_a_missing_file(path: Path, name: str) -> None:
    (path / name).unlink()
    assert_refused(path, name)


def test_load_refuses_swapped_files(path: Path) -> None:
    first, second = (path / name for name in FILES[:2])
    data = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(data)
    assert_refused(path, "(manifest)")


@pytest.mark.parametrize("name", FILES)
def test_load_refuses_a_file_of_another_checkpoint(path: Path, name: str) -> None:
    shutil.copy(make(path.parent, 2) / name, path / name)
    assert_refused(path)


@pytest.mark.parametrize(
    "name",
    [
        "../x.safetensors",
        "/etc/passwd",
        "a/../../x.safetensors",
        "a\\x.safetensors",
        "..",
        "",
        "x\n.safetensors",
        "x.safetensors\n",
        "x\0.safetensors",
        "manifest.json",
        "ü.safetensors",
    ],
)
def test_load_refuses_a_path_out_of_the_directory(path: Path, name: str) -> None:
    data = (path / FILES[0]).read_bytes()
    (path.parent / "x.safetensors").write_bytes(data)
    entry = {"size": len(data), "sha256": manifest.sha256(data)}
    reseal(path, lambda tree: tree["files"].__setitem__(name, entry))
    assert_refused(path, "not a checkpoint file")


@pytest.mark.parametrize("size", [-1, 10**30, 2**63, 1.5, True, "128", None])
def test_load_refuses_an_absurd_size(path: Path, size: Any) -> None:
    reseal(path, lambda tree: tree["files"][FILES[0]].__setitem__("size", size))
    assert_refused(path, "bytes")


def test_load_refuses_absurd_files_before_reading_them(path: Path) -> None:
    huge = 2**42  # 4 TiB, sparse
    os.truncate(path / FILES[0], huge)
    assert_refused(path, "(manifest)")
    reseal(path, lambda tree: tree["files"][FILES[0]].__setitem__("size", huge))
    assert_refused(path, "the limit is")
    os.truncate(path / manifest.NAME, huge)
    assert_refused(path, "too large")


@pytest.mark.parametrize("name", FILES)
def test_load_refuses_a_symlink_to_the_right_content(path: Path, name: str) -> None:
    (path / name).rename(path.parent / "elsewhere")
    (path / name).symlink_to(path.parent / "elsewhere")
    assert_refused(path, name)


def test_load_refuses_a_symlink_in_place_of_the_directory(path: Path) -> None:
    link = path.with_name("000000002")
    link.symlink_to(path)
    assert_refused(link)


@pytest.mark.parametrize("name", FILES)
def test_load_refuses_pipes_and_directories_without_a_hang(
    path: Path, name: str
) -> None:
    (path / name).unlink()
    os.mkfifo(path / name)
    assert_refused(path, "regular file")
    (path / name).unlink()
    (path / name).mkdir()
    assert_refused(path)


def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("policy.pth", b"weights")
    return stream.getvalue()


# Protocol 4, calls os.mkdir("ran-code"): what loading must never do.
PICKLE = (
    b"\x80\x04\x95\x1f\0\0\0\0\0\0\0\x8c\x02os\x8c\x05mkdir\x93\x8c\x08ran-code\x85R."
)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n"
FOREIGN = [(archive(), "zip archive"), (PICKLE, "pickle"), (LFS, "Git LFS pointer")]


@pytest.mark.parametrize(("data", "kind"), FOREIGN)
def test_load_names_a_foreign_file(
    path: Path, data: bytes, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    stranger = path.parent / "model.bin"
    stranger.write_bytes(data)
    assert_refused(stranger, kind)
    (path / FILES[0]).write_bytes(data)
    assert_refused(path, f"is a {kind}; expected")
    reseal_file(path, FILES[0], data)
    assert_refused(path, f"is a {kind}; expected safetensors")
    (path / manifest.NAME).write_bytes(data)
    assert_refused(path, f"is a {kind}")
    assert not (path.parent / "ran-code").exists()


def header(tree: Any, data: bytes = b"") -> bytes:
    text = json.dumps(tree).encode()
    return len(text).to_bytes(8, "little") + text + data


def tensor(dtype: str, shape: list[int], end: int) -> dict[str, Any]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": [0, end]}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        (2**60).to_bytes(8, "little") + b"{}",
        header(tensor("F32", [2**40], 4), bytes(4)),
        header(tensor("F32", [2**62, 2**62], 4), bytes(4)),
        header(tensor("F32", [0, 2**63], 0)),
        header(tensor("F32", [-1], 4), bytes(4)),
        header(tensor("F32", [2], 4), bytes(4)),
        header(tensor("O", [1], 8), bytes(8)),
        header(tensor("BF16", [1], 2), bytes(2)),
        header([1, 2]),
    ],
)
def test_load_refuses_safetensors_that_lie(path: Path, data: bytes) -> None:
    reseal_file(path, FILES[0], data)
    assert_refused(path, "does not parse")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b"[1]",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"format": ' + b"9" * 5000 + b"}",
        b'{"format": 1, "format": 1}',
        b'{"format": NaN}',
        b"\xff\xfe{}",
        b"\0" * 64,
    ],
)
def test_load_refuses_a_manifest_that_is_none(path: Path, text: bytes) -> None:
    (path / manifest.NAME).write_bytes(text)
    assert_refused(path, r"manifest\.json")


@pytest.mark.parametrize("value", [None, [], "files", 3, {FILES[0]: 1}])
def test_load_refuses_files_that_are_no_entries(path: Path, value: Any) -> None:
    reseal(path, lambda tree: tree.__setitem__("files", value))
    assert_refused(path)


def test_mutated_checkpoints_are_set_aside_by_resume(path: Path) -> None:
    newer = make(path.parent, 2)
    reseal_file(newer, FILES[0], PICKLE)
    newest, damaged = checkpoint.newest_verified(path.parent)
    assert newest.path == path
    assert damaged == [newer.with_name("000000002.damaged")]


def test_parsing_alone_would_not_see_a_flipped_bit(path: Path) -> None:
    # The negative half: without the manifest's hash this flip passes as data.
    data = bytearray((path / FILES[0]).read_bytes())
    data[-1] ^= 1
    weight = safetensors.numpy.load(bytes(data))["weight"]
    assert not np.array_equal(weight, checkpoint.load(path).groups["agent"]["weight"])
