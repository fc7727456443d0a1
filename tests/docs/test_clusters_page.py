"""docs/clusters.md: its commands run, and its messages are those of the code."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pgcli.cli.main import build_app, get_command
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.distributed.link import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "clusters.md").read_text("utf-8")
CALL = re.compile(r"^(?:[0-9.]*\$|srun) (pgcli .*?)(?: &)?$", re.MULTILINE)


def test_options_of_the_page_exist() -> None:
    app = get_command(build_app())
    calls = [shlex.split(call) for call in CALL.findall(PAGE)]
    assert len(calls) == 7
    for _, name, *words in calls:
        known = {x for p in app.commands[name].params for x in p.opts}
        assert {word for word in words if word.startswith("-")} <= known


def test_messages_of_the_page_are_those_of_the_code() -> None:
    room = ROOT / "pgcli/training/distributed"
    text = "".join(path.read_text("utf-8") for path in room.glob("*.py"))
    plain = re.sub(r'"\s*f?"', "", text)
    table = PAGE.partition("## When it does not start\n")[2]
    messages = re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)
    assert len(messages) == 8
    for message in messages:
        for part in re.split(r"…|process 1|port 7777 of", message):
            assert part.strip() in plain, message


@pytest.mark.slow
def test_two_processes_on_one_machine_train_as_the_page_says(tmp_path: Path) -> None:
    calls = [call for call in CALL.findall(PAGE) if "localhost" in call]
    assert len(calls) == 2
    port = free_port("127.0.0.1")
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", *shlex.split(call), "--steps", "2000", "-q"],
            cwd=tmp_path,
        )
        for call in (call.replace("7777", str(port)) for call in calls)
    ]
    assert [process.wait(timeout=240) for process in processes] == [0, 0]
    assert RunDirectory(tmp_path / "runs" / "both").read_result() is not None
