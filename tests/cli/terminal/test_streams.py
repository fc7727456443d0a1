"""Readers that go away, stall or never were: training goes on, results stay clean."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

import pytest

from pgcli.cli.terminal.streams import LineForwarder, ResultStream, write_all

PROGRAM = """
import os, sys
sys.path.insert(0, sys.argv.pop(1))
from support import fake_training
def train(resolved, *, reporter, **options):
    result = fake_training.train(resolved, reporter=reporter)
    for number in range(int(os.environ.get("NOISE", "0"))):
        reporter.warn("x" * 1000)
    open("trained", "w").close()
    return result
fake_training.install(train=train)
from pgcli.cli.main import main
sys.exit(main())
"""
TESTS = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", PROGRAM, str(TESTS), "train", "--no-preset"]


def start(
    tmp_path: Path,
    stdout: int | IO[Any],
    stderr: int | IO[Any],
    *words: str,
    noise: int = 0,
) -> subprocess.Popen[str]:
    """A run with the streams given; `trained` appears when training has ended."""
    environ = os.environ | {"NOISE": str(noise), "PYTHONPATH": str(TESTS.parent)}
    return subprocess.Popen(
        [*COMMAND, *words],
        stdout=stdout,
        stderr=stderr,
        cwd=tmp_path,
        env=environ,
        text=True,
    )


def test_stdout_holds_the_result_only(tmp_path: Path) -> None:
    process = start(tmp_path, subprocess.PIPE, subprocess.PIPE, "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.count("\n") == 1
    assert json.loads(out)["ok"] is True
    assert "a library prints to stdout" in err
    assert "native code too" in err


@pytest.mark.parametrize("closed", [1, 2])
def test_closed_stream_does_not_stop_training(tmp_path: Path, closed: int) -> None:
    environ = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    shell = ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *COMMAND]
    done = subprocess.run(
        shell, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=60
    )
    assert (done.returncode, (tmp_path / "trained").exists()) == (0, True)
    assert ("checkpoint" in done.stdout) == (closed != 1)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_reader_that_went_away_does_not_stop_training(
    tmp_path: Path, stream: str
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = start(tmp_path, **(streams | {stream: writer}))
    os.close(writer)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, (tmp_path / "trained").exists()) == (0, True)
    assert "Error" not in (err or "")


def test_stalled_stderr_does_not_stop_training(tmp_path: Path) -> None:
    # 1,000 warnings of 1,000 characters are 15 times what a pipe holds (64 KiB).
    reader, writer = os.pipe()
    process = start(tmp_path, subprocess.PIPE, writer, "--json", noise=1000)
    os.close(writer)
    out, _ = process.communicate(timeout=60)
    os.close(reader)
    assert process.returncode == 0
    assert json.loads(out)["ok"] is True


def test_stalled_stdout_does_not_stop_training(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, b"x" * 4096)
        except BlockingIOError:
            break
    os.set_blocking(writer, True)
    process = start(tmp_path, writer, subprocess.DEVNULL)
    os.close(writer)
    end = time.monotonic() + 60
    while not (tmp_path / "trained").exists() and time.monotonic() < end:
        time.sleep(0.05)
    trained = (tmp_path / "trained").exists()
    process.kill()
    process.wait()
    os.close(reader)
    assert trained


def test_result_on_a_full_disk_is_exit_1(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = start(tmp_path, full, subprocess.PIPE)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "the result could not be written: No space left on device" in err


def test_replaced_stdout_behaves_like_a_file(capfd: pytest.CaptureFixture[str]) -> None:
    lines: list[str] = []
    results = ResultStream(sys.stdout)
    results.reserve(lines.append, lines.append)
    try:
        sys.stdout.reconfigure(line_buffering=True, encoding="utf-8")
        assert sys.stdout.fileno() == 1
        assert (sys.stdout.name, sys.stdout.writable()) == ("<stdout>", True)
        sys.stdout.buffer.write("bytes π\nre".encode())
        sys.stdout.flush()
        sys.stdout.write("st\n")
        sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
        sys.stdout.write("another wrapper\n")
        sys.stdout.flush()
        sys.stdout.write("the end")
    finally:
        results.release()
    assert lines == ["bytes π", "rest", "another wrapper", "the end"]
    assert capfd.readouterr().out == ""


def test_repeated_warning_is_shown_once() -> None:
    lines: list[str] = []
    stream = LineForwarder(lines.append, 2, "<stderr>", once=True)
    for _ in range(3):
        stream.write("a.py:3: UserWarning: old\n  import a\n")
        stream.write("half a line")
        stream.write("\n")
    warning = ["a.py:3: UserWarning: old", "  import a"]
    assert lines == [*warning, *["half a line"] * 3]


def test_write_all_waits_where_the_descriptor_does_not_block() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    data = b"x" * 500_000  # a pipe holds 65,536
    thread = threading.Thread(target=write_all, args=(writer, data))
    thread.start()
    received = 0
    while received < len(data):
        received += len(os.read(reader, 65_536))
    thread.join(10)
    os.close(reader)
    os.close(writer)
    assert not thread.is_alive()
