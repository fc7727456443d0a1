"""Completion: what is offered, without JAX, and in shells that are installed."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from pgcli.cli import completers
from pgcli.cli.bash_completion import line_before
from pgcli.envs.device_names import DEVICE_NAMES

HEAVY = ("jax", "flax", "optax", "pydantic_core.core_schema.jax")
PROGRAM = """
import json, sys
from pgcli.cli.main import main
try:
    main([])
finally:
    print(sorted({name.split(".")[0] for name in sys.modules}), file=sys.stderr)
"""
LINES = {
    # typed before TAB -> the line after it
    "pgcli tra": "pgcli train ",
    "pgcli train --algo ppo2 --no-pr": "pgcli train --algo ppo2 --no-preset ",
    "pgcli train --algo reinforce-": "pgcli train --algo reinforce-baseline ",
    "pgcli train --env Blackj": "pgcli train --env Blackjack-v1 ",
    "pgcli train -c trpo/Half": "pgcli train -c trpo/HalfCheetah-v5 ",
    "pgcli train --resume au": "pgcli train --resume auto ",
    "pgcli eval fir": "pgcli eval first ",
    "pgcli plot first sec": "pgcli plot first second ",
    "pgcli config explain seeds": "pgcli config explain seeds ",
}
BROKEN_WORDS = {
    "pgcli train --env func:Pen": "pgcli train --env func:Pendulum-v1 ",
    "pgcli train --set optimizer.sch": "pgcli train --set optimizer.schedule=",
    "pgcli train --set optimizer.schedule=lin": (
        "pgcli train --set optimizer.schedule=linear "
    ),
}
"""Words that bash splits at `:` and `=`."""


@pytest.fixture
def environ(tmp_path: Path, user_environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of a shell with `pgcli` on its PATH, and two runs."""
    program = tmp_path / "bin" / "pgcli"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pgcli "$@"\n')
    program.chmod(0o755)
    for name in ("first", "second"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "config.yaml").touch()
    root = str(Path(completers.__file__).parents[2])
    path = f"{program.parent}:{os.environ['PATH']}"
    more = {"PATH": path, "PYTHONPATH": root, "TERM": "dumb", "PS1": "$ "}
    return {**user_environ, **more, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}


class Shell:
    """An interactive shell on a terminal of its own."""

    def __init__(self, words: list[str], environ: dict[str, str], cwd: Path) -> None:
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(words[0], words, environ)

    def send(self, text: str) -> None:
        os.write(self.file, text.encode())

    def until(self, pattern: str, seconds: float = 20.0) -> str:
        """What the shell prints up to a match of `pattern`."""
        text, end = "", time.monotonic() + seconds
        while not re.search(pattern, text):
            ready, _, _ = select.select([self.file], [], [], end - time.monotonic())
            assert ready, f"no {pattern!r} in {text!r}"
            text += os.read(self.file, 4096).decode(errors="replace")
        return text

    def completed(self, line: str) -> str:
        """The line after TAB, as the shell itself prints it."""
        self.send(f"{line}\t")
        time.sleep(0.1)
        # to the start of the line, to have it printed in place of run
        self.send("<\x01printf '[%s]' '\x05'\n")
        found = re.search(r"\[(pgcli [^\]]*)<\]", self.until(r"\[pgcli [^\]]*<\]"))
        assert found is not None
        return found[1]

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.file)


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "{script}"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "bindkey -e; autoload -U compinit; compinit -u -D; {script}",
    ),
    "fish": (["fish", "--no-config", "-i"], "{script}"),
}


@pytest.fixture(params=SHELLS)
def shell(
    request: pytest.FixtureRequest, environ: dict[str, str], tmp_path: Path
) -> Iterator[Shell]:
    """A shell that has read what `pgcli --show-completion` prints."""
    words, start = SHELLS[request.param]
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    show = ["pgcli", "--show-completion", request.param]
    shown = subprocess.run(
        show, env=environ, capture_output=True, text=True, check=True
    )
    script = tmp_path / "completion"
    script.write_text(shown.stdout)
    shell = Shell(words, environ, tmp_path)
    shell.send(start.format(script=f". {script}") + "; echo rea''dy\n")
    shell.until("ready")
    yield shell
    shell.close()


@pytest.mark.slow
def test_shell_completes_every_kind_of_word(
    shell: Shell, request: pytest.FixtureRequest
) -> None:
    of_bash = "bash" in request.node.name
    for typed, line in (LINES | (BROKEN_WORDS if of_bash else {})).items():
        assert shell.completed(typed) == line


@pytest.mark.parametrize(
    ("cursor", "found"),
    [
        ("pgcli tr", ([], "tr", 0)),
        ("pgcli train ", (["train"], "", 0)),
        ("pgcli --env func:Ca", (["--env"], "func:Ca", 5)),
        ("pgcli --set a.b=", (["--set"], "a.b=", 4)),
        ("pgcli ", ([], "", 0)),
    ],
)
def test_bash_replaces_the_part_behind_its_breaks(
    cursor: str, found: tuple[list[str], str, int]
) -> None:
    assert line_before(cursor, " =:") == found
    words, incomplete, _ = found
    assert line_before(cursor, "") == (words, incomplete, 0)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("pgcli train --set optimizer.b", ["optimizer.beta1=", "optimizer.beta2="]),
        ("pgcli eval --runs-dir runs ", ["first", "second"]),
        ("pgcli plot first ", ["second"]),
        ("pgcli envs check func:", ["CartPole-v1", "Pendulum-v1"]),
        ("pgcli train --env CartP", ["CartPole-v0", "CartPole-v1"]),
        ("pgcli train --accelerator g", ["gpu"]),
        ("pgcli export first --format s", ["stablehlo", "safetensors"]),
        ("pgcli runs list --status f", ["finished"]),
        ("pgcli train -c nothing", []),
    ],
)
def test_completion_offers_values_without_jax(
    line: str, offered: list[str], environ: dict[str, str], tmp_path: Path
) -> None:
    more = {"_PGCLI_COMPLETE": "complete_bash", "_PGCLI_LINE": line}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**environ, **more, "_PGCLI_BREAKS": "=:"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == offered
    assert not {"'jax'", "'flax'"} & set(done.stderr.strip("[]\n").split(", "))


def test_ids_offered_are_those_of_the_adapters() -> None:
    """Of `func:` and pgx, whose adapters need more than the names."""
    from pgcli.envs.device import functional, pgx

    assert DEVICE_NAMES["func"] == tuple(functional.NAMES)
    assert DEVICE_NAMES["pgx"] == tuple(pgx.NAMES)


def test_set_offers_the_words_of_a_key() -> None:
    assert completers.complete_set("normalize.obs=") == [
        "normalize.obs=true",
        "normalize.obs=false",
    ]
    assert completers.complete_set("host.workers=a") == ["host.workers=auto"]
    assert completers.complete_set("optimizer.lr=") == []
