"""What the seconds of a short run are, from the command to the end of its process.

    python tests/benchmarks/start.py [--repeats 5]

Trains CartPole up to a return of 475, on the device and on the host, with an empty
cache and with a filled one, and prints the fastest run of each as a Markdown table.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RUNS = {"device": "func:CartPole-v1", "host": "CartPole-v1"}
PARTS = {
    "process": "interpreter: start and end",
    "command": "command line, configuration",
    "imports": "imports of JAX, Flax, Optax and pgcli",
    "loop": "environments, network, tracing ahead",
    "programs": "lowering, compiling or loading programs",
    "training": "training",
    "evaluation": "evaluation",
    "checkpoints": "checkpoints",
}


class Stopwatch:
    """Seconds by part; those of a part inside another one count once."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._parts, self._since = ["command"], time.perf_counter()

    def lap(self) -> None:
        """Adds the time since the last call to the current part."""
        now = time.perf_counter()
        self.seconds[self._parts[-1]] += now - self._since
        self._since = now

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """A block that is a part."""
        self.lap()
        self._parts.append(name)
        try:
            yield
        finally:
            self.lap()
            self._parts.pop()

    def watch(self, owner: Any, attribute: str, name: str) -> None:
        """Makes each call of a function a part."""
        function = getattr(owner, attribute)

        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(name):
                return function(*arguments, **options)

        setattr(owner, attribute, timed)

    def move(self, seconds: float) -> None:
        """Moves seconds of the current part to the programs."""
        self.seconds[self._parts[-1]] -= seconds
        self.seconds["programs"] += seconds


def child(words: list[str]) -> None:
    """Runs a command of pgcli; writes seconds by part to a file."""
    target, watch = Path(words.pop(0)), Stopwatch()
    from pgcli.cli.commands import train
    from pgcli.cli.main import main

    imports = train.quick_imports

    @contextlib.contextmanager
    def watched_imports() -> Iterator[None]:
        with watch.part("imports"), imports():
            yield
        _watch_training(watch)

    train.quick_imports = watched_imports
    code = main(words)
    watch.lap()
    target.write_text(json.dumps(watch.seconds))
    sys.exit(code)


def _watch_training(watch: Stopwatch) -> None:
    import threading

    import jax

    from pgcli.training import run, timing
    from pgcli.training.checkpointing import Checkpointing

    watch.watch(run, "_make_loop", "loop")
    watch.watch(Checkpointing, "save", "checkpoints")
    for loop in (run.DeviceLoop, run.HostLoop):
        watch.watch(loop, "advance", "training")
        watch.watch(loop, "evaluate", "evaluation")
    waiting: Callable[..., Any] = timing.waiting

    @contextlib.contextmanager
    def watched_waiting() -> Iterator[None]:
        with watch.part("programs"), waiting():
            yield

    timing.waiting = watched_waiting

    def listen(event: str, seconds: float, **_: Any) -> None:
        main = threading.current_thread() is threading.main_thread()
        if main and event in timing._COMPILE_EVENTS:
            watch.move(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)


def measure(env: str, cache: str) -> dict[str, float]:
    """Seconds by part of one run, their sum, and those of the processor."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory, "seconds.json")
        words = [sys.executable, __file__, "--child", str(target), "train", "--quiet"]
        words += ["--env", env, "--until-return", "475", "--runs-dir", directory]
        environ = {**os.environ, "PGCLI_CACHE": cache}
        start = time.perf_counter()
        quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
        process = os.posix_spawn(words[0], words, environ, file_actions=quiet)
        _, status, usage = os.wait4(process, 0)
        total = time.perf_counter() - start
        if status:
            sys.exit("the run has failed")
        seconds: dict[str, float] = json.loads(target.read_text())
    seconds["process"] = total - sum(seconds.values())
    return {**seconds, "total": total, "cpu": usage.ru_utime + usage.ru_stime}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as on a user's machine
    columns: dict[str, dict[str, float]] = {}
    for name, env in RUNS.items():
        runs: dict[str, list[dict[str, float]]] = {"first": [], "warm": []}
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as cache:
                for measured in runs.values():
                    measured.append(measure(env, cache))
        for state in ("warm", "first"):
            best = min(runs[state], key=lambda seconds: seconds["total"])
            columns[f"{name}, {state}"] = best
    print("| seconds |", " | ".join(columns), "|")
    print("|---" * (len(columns) + 1) + "|")
    rows = {**PARTS, "total": "from the command to its end", "cpu": "processor time"}
    for key, text in rows.items():
        cells = (f"{column.get(key, 0.0):.2f}" for column in columns.values())
        print(f"| {text} |", " | ".join(cells), "|")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2:])
    else:
        main()
