"""Loggers write complete rows, and a failing disk never stops training."""

import csv
import errno
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.disk_faults import CODES, Failing, Killed, Killing, count, intercept
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData
from tensorboardX.record_writer import masked_crc32c

from pgcli.config.schema import RunConfig
from pgcli.errors import UsageError
from pgcli.storage.loggers import (
    IN_BACKGROUND,
    LOGGERS,
    JsonlWriter,
    require_packages,
)
from pgcli.storage.loggers.base import LoggedRun
from pgcli.storage.loggers.csv_file import CsvLogger
from pgcli.storage.loggers.tensorboard import TensorBoardLogger


def run(path: Path, after_step: int | None = None, **values: Any) -> LoggedRun:
    return LoggedRun(path, RunConfig(**values), after_step)


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
    warnings: list[str] = []
    writer = JsonlWriter(tmp_path / "x", warnings.append)
    writer.write({"a": 1})
    writer.truncate(100)
    assert (tmp_path / "x").read_bytes() == b'{"a":1}\n'
    assert "has 8 bytes, but the checkpoint recorded 100" in warnings[0]


def test_jsonl_cuts_off_a_broken_last_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b'{"a":1}\n' + b"x" * 100_000)
    JsonlWriter(tmp_path / "x").write({"a": 2})
    assert rows(tmp_path / "x") == [{"a": 1}, {"a": 2}]


def log_three(path: Path, warnings: list[str]) -> None:
    writer = JsonlWriter(path, warnings.append)
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
        warnings: list[str] = []
        path = tmp_path / str(n)
        with intercept(Failing(n, code, lasting)):
            log_three(path, warnings)
        # the first failure, and at the end the number of all
        assert f"{n} cannot be written (" in warnings[0]
        failed = total - n if lasting else 1
        if n == 0 and lasting:
            failed = total  # the file is opened again at each write
        count_said = [f"{n} cannot be written: {failed} times"]
        assert warnings[1:] == (count_said if failed > 1 else [])
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


@pytest.mark.parametrize("name", sorted(LOGGERS.keys() - set(IN_BACKGROUND)))
def test_logger_failing_from_any_operation_on_warns_once_and_counts(
    tmp_path: Path, name: str
) -> None:
    def log(directory: Path, warn: Any) -> None:
        logger = LOGGERS[name](run(directory), warn)
        for step in range(3):
            logger.write(0, step, {"kl": 0.1, "new" if step else "kl": 1.0})
        logger.finish("finished")

    (tmp_path / "count").mkdir()
    for n in range(count(lambda: log(tmp_path / "count", print))):
        warnings: list[str] = []
        (tmp_path / str(n)).mkdir()
        with intercept(Failing(n, errno.ENOSPC, True)):
            log(tmp_path / str(n), warnings.append)
        first, *rest = warnings
        assert "cannot be written (No space left on device)" in first
        assert all(text.endswith("times") for text in rest)
        assert len(rest) <= 1


def table(directory: Path) -> list[dict[str, str]]:
    with (directory / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_csv_adds_a_column_for_a_new_metric(tmp_path: Path) -> None:
    logger = CsvLogger(run(tmp_path))
    logger.write(0, 1, {"kl": 0.5})
    logger.write(0, 2, {"lr": 1e-3})
    assert table(tmp_path) == [
        {"step": "1", "kl": "0.5", "lr": ""},
        {"step": "2", "kl": "", "lr": "0.001"},
    ]


def test_csv_has_a_column_for_each_key_of_a_member(tmp_path: Path) -> None:
    CsvLogger(run(tmp_path, seeds=2, seed=7)).write(1, 32, {"kl": 0.5})
    assert table(tmp_path) == [{"step": "32", "member": "1", "seed": "8", "kl": "0.5"}]


def test_csv_resumed_drops_the_rows_after_the_step(tmp_path: Path) -> None:
    logger = CsvLogger(run(tmp_path))
    for step in (1, 2, 3):
        logger.write(0, step, {"kl": step})
    logger.finish("stopped")
    with (tmp_path / "metrics.csv").open("a") as stream:
        stream.write("4,")
    logger = CsvLogger(run(tmp_path, 2))
    logger.write(0, 3, {"kl": 30})
    assert [row["kl"] for row in table(tmp_path)] == ["1", "2", "30"]


def test_csv_of_a_new_run_begins_empty(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_text("step,old\n1,2\n")
    CsvLogger(run(tmp_path)).write(0, 1, {"kl": 2})
    assert table(tmp_path) == [{"step": "1", "kl": "2"}]


def events(directory: Path, below: str = "tensorboard") -> list[Any]:
    """The events of the only event file; the frames of its records must be right."""
    (path,) = (directory / below).iterdir()
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body = data[12 : 12 + length]
        for part, at in ((data[:8], 8), (body, 12 + length)):
            assert data[at : at + 4] == struct.pack("<I", masked_crc32c(part))
        found.append(Event.FromString(body))
        data = data[16 + length :]
    return found


def scalars(event: Any) -> dict[str, float]:
    return {value.tag: value.simple_value for value in event.summary.value}


def test_tensorboard_writes_a_summary_of_scalars_at_once(tmp_path: Path) -> None:
    logger = TensorBoardLogger(run(tmp_path))
    logger.write(0, 2**40, {"kl": 0.5, "lr": 1, "huge": 1e300})
    version, *_, event = events(tmp_path)
    assert version.file_version == "brain.Event:2"
    assert event.step == 2**40
    # 1e300 is beyond float32
    assert scalars(event) == {"kl": 0.5, "lr": 1.0, "huge": float("inf")}


def test_tensorboard_resumed_tells_readers_to_drop_what_follows(
    tmp_path: Path,
) -> None:
    TensorBoardLogger(run(tmp_path, 4)).write(0, 5, {"kl": 1})
    _, session, *_ = events(tmp_path)
    assert (session.step, session.session_log.status) == (5, SessionLog.START)


@pytest.mark.parametrize("after_step", [None, 0])
def test_tensorboard_failing_once_loses_that_row_only(
    tmp_path: Path, after_step: int | None
) -> None:
    for n in range(3):
        directory = tmp_path / str(n)
        directory.mkdir()
        logger = TensorBoardLogger(run(directory, after_step), print)
        # 0: mkdir, 1: sync of its parent, 2: open, then one write per row
        with intercept(Failing(3 + n, errno.ENOSPC, False)):
            for step in range(4):
                logger.write(0, step, {"kl": step})
        found = events(directory)
        kept = [event.step for event in found if "kl" in scalars(event)]
        assert kept == [step for step in range(4) if step != n]
        resumed = any(event.HasField("session_log") for event in found)
        assert resumed == (after_step is not None)


def test_tensorboard_has_a_directory_and_hyperparameters_for_each_member(
    tmp_path: Path,
) -> None:
    logger = TensorBoardLogger(run(tmp_path, seeds=2, grid={"optimizer.lr": (0.5,)}))
    for member in range(2):
        logger.write(member, 32, {"train/kl": member})
    names = ["seed=0,optimizer.lr=0.5", "seed=1,optimizer.lr=0.5"]
    assert sorted(p.name for p in (tmp_path / "tensorboard").iterdir()) == names
    for member, name in enumerate(names):
        _, *first, event = events(tmp_path / "tensorboard" / name, "")
        assert scalars(event) == {"train/kl": member}
        content = first[1].summary.value[0].metadata.plugin_data.content
        start = HParamsPluginData.FromString(content).session_start_info
        assert start.hparams["optimizer.lr"].number_value == 0.5
        assert start.hparams["seed"].number_value == member
        assert start.hparams["network.hidden"].string_value == "[64, 64]"


def test_missing_package_of_a_logger_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    require_packages(["csv"])
    with pytest.raises(UsageError, match="needs tensorboardX") as caught:
        require_packages(["csv", "tensorboard"])
    assert "[tensorboard]" in str(caught.value.help)
