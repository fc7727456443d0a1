"""The record and its sinks: whole rows, and a disk that fails stops nothing."""

import csv
import errno
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.disk_faults import CODES, Failing, Killed, Killing, count

from pgcli.storage.files import intercept
from pgcli.storage.loggers import LOGGERS, JsonlWriter
from pgcli.storage.loggers.csv_file import CsvLogger
from pgcli.storage.loggers.tensorboard import TensorBoardLogger, crc32c, record


def rows(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_jsonl_writes_a_line_at_once(tmp_path: Path) -> None:
    writer = JsonlWriter(tmp_path / "x")
    writer.write({"steps": 2**53, "kl": np.float32(0.5), "per": np.arange(2)})
    assert (tmp_path / "x").read_text() == (
        '{"steps":9007199254740992,"kl":0.5,"per":[0,1]}\n'
    )


def test_jsonl_writes_null_for_what_is_not_finite(tmp_path: Path) -> None:
    writer = JsonlWriter(tmp_path / "x")
    writer.write({"a": float("nan"), "b": np.float32("-inf"), "c": [np.inf, None]})
    assert rows(tmp_path / "x") == [{"a": None, "b": None, "c": [None, None]}]


def test_jsonl_truncate_cuts_back_to_an_offset(tmp_path: Path) -> None:
    writer = JsonlWriter(tmp_path / "x")
    writer.write({"a": 1})
    offset = writer.offset()
    writer.write({"a": 2})
    writer.close()
    writer = JsonlWriter(tmp_path / "x")
    writer.truncate(offset)
    writer.write({"a": 3})
    assert rows(tmp_path / "x") == [{"a": 1}, {"a": 3}]
    assert offset == len('{"a":1}\n')


def test_jsonl_truncate_of_a_shorter_file_fills_nothing_in(tmp_path: Path) -> None:
    said: list[str] = []
    writer = JsonlWriter(tmp_path / "x", said.append)
    writer.write({"a": 1})
    writer.truncate(100)
    assert (tmp_path / "x").read_bytes() == b'{"a":1}\n'
    assert "has 8 bytes, the checkpoint says 100" in said[0]


def test_jsonl_cuts_off_a_broken_last_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b'{"a":1}\n' + b"x" * 100_000)
    JsonlWriter(tmp_path / "x").write({"a": 2})
    assert rows(tmp_path / "x") == [{"a": 1}, {"a": 2}]


def log_three(path: Path, said: list[str]) -> None:
    writer = JsonlWriter(path, said.append)
    for number in range(3):
        writer.write({"row": number})
    writer.sync()
    writer.close()


@pytest.mark.parametrize("lasting", [False, True])
@pytest.mark.parametrize("code", CODES)
def test_jsonl_failing_at_any_operation_warns_once_and_keeps_whole_rows(
    tmp_path: Path, code: int, lasting: bool
) -> None:
    total = count(lambda: log_three(tmp_path / "x", []))
    assert total == 5  # open, 3 writes, sync
    for n in range(total):
        said: list[str] = []
        path = tmp_path / str(n)
        with intercept(Failing(n, code, lasting)):
            log_three(path, said)
        assert len(said) == 1
        assert f"{n} cannot be written" in said[0]
        writer = JsonlWriter(path)
        writer.write({"row": "last"})
        found = [row["row"] for row in rows(path)]
        assert found[-1] == "last"
        if not lasting:  # only the row of the failed write is missing
            assert found[:-1] == [row for row in range(3) if row != n - 1]


def test_jsonl_killed_in_any_write_leaves_whole_rows_for_the_next(
    tmp_path: Path,
) -> None:
    for n in range(5):
        path = tmp_path / str(n)
        with intercept(Killing(n, True)), pytest.raises(Killed):
            log_three(path, [])
        JsonlWriter(path).write({"row": "last"})
        expected = [*range(min(max(n - 1, 0), 3)), "last"]
        assert [row["row"] for row in rows(path)] == expected


def test_jsonl_refuses_a_value_without_a_json_form(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        JsonlWriter(tmp_path / "x").write({"a": object()})


@pytest.mark.parametrize("name", sorted(LOGGERS))
def test_logger_failing_from_any_operation_on_warns_once(
    tmp_path: Path, name: str
) -> None:
    def log(directory: Path, warn: Any) -> None:
        logger = LOGGERS[name](directory, after_step=None, warn=warn)
        for step in range(3):
            logger.write(step, {"kl": 0.1, "new" if step else "kl": 1.0, "none": None})
        logger.close()

    (tmp_path / "count").mkdir()
    for n in range(count(lambda: log(tmp_path / "count", print))):
        said: list[str] = []
        (tmp_path / str(n)).mkdir()
        with intercept(Failing(n, errno.ENOSPC, True)):
            log(tmp_path / str(n), said.append)
        assert len(said) == 1


def table(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_csv_adds_a_column_for_a_new_metric(tmp_path: Path) -> None:
    logger = CsvLogger(tmp_path, after_step=None)
    logger.write(1, {"kl": 0.5, "loss": None})
    logger.write(2, {"kl": float("nan"), "lr": 1e-3})
    assert table(tmp_path) == [
        {"step": "1", "kl": "0.5", "loss": "", "lr": ""},
        {"step": "2", "kl": "", "loss": "", "lr": "0.001"},
    ]


def test_csv_resumed_drops_the_rows_after_the_step(tmp_path: Path) -> None:
    logger = CsvLogger(tmp_path, after_step=None)
    for step in (1, 2, 3):
        logger.write(step, {"kl": step})
    logger.close()
    with (tmp_path / "metrics.csv").open("a") as stream:
        stream.write("4,")
    logger = CsvLogger(tmp_path, after_step=2)
    logger.write(3, {"kl": 30})
    assert [row["kl"] for row in table(tmp_path)] == ["1", "2", "30"]


def test_csv_of_a_new_run_begins_empty(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,old\n1,2\n")
    CsvLogger(tmp_path, after_step=None).write(1, {"kl": 2})
    assert table(tmp_path) == [{"step": "1", "kl": "2"}]


def test_crc32c_agrees_with_rfc_3720() -> None:
    # Appendix B.4: 32 zeros, 32 ones, 0..31; and the usual check value
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E
    assert crc32c(b"123456789") == 0xE3069283


def records(directory: Path) -> list[bytes]:
    """The records of the only event file; their frames must be right."""
    (path,) = (directory / "tensorboard").iterdir()
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(data[12 : 12 + length])
        frame = data[: 16 + length]
        assert frame == record(found[-1])
        data = data[16 + length :]
    return found


def test_tensorboard_writes_a_summary_of_scalars(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, after_step=None)
    logger.write(300, {"kl": 0.5, "none": None, "huge": 1e300, "nan": float("nan")})
    logger.close()
    version, event = records(tmp_path)
    # field 3 (bytes): file_version
    assert version.endswith(b"\x1a\x0dbrain.Event:2")
    # field 1: a double; field 2: 300 = 0b10_0101100; field 5: two values
    kl = b"\x0a\x02kl" + b"\x15" + struct.pack("<f", 0.5)
    huge = b"\x0a\x04huge" + b"\x15" + struct.pack("<f", float("inf"))
    summary = b"\x0a\x09" + kl + b"\x0a\x0b" + huge
    assert event[:1] == b"\x09"
    assert event[9:] == b"\x10\xac\x02" + b"\x2a" + bytes([len(summary)]) + summary


def test_tensorboard_resumed_tells_readers_to_drop_what_follows(
    tmp_path: Path,
) -> None:
    TensorBoardLogger(tmp_path, after_step=4).write(5, {"kl": 1})
    _, session, _ = records(tmp_path)
    # step 5; field 7, session_log: status = START (1)
    assert session[9:] == b"\x10\x05" + b"\x3a\x02\x08\x01"
