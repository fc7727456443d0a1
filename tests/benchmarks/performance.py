"""Every row of docs/performance.md: rates of training, peers beside them, ratios.

    python tests/benchmarks/performance.py --peers \
        --peer-python SB3/bin/python --peer-python JAX/bin/python --purejaxrl CLONE
    python tests/benchmarks/performance.py --only "4 x 128" --seconds 2 --rounds 2
    python tests/benchmarks/performance.py --scaling docs/images/scaling.svg

The programs of a row are compiled first and then measured in alternating rounds, each
in a process of its own; the table has medians. A peer is run by an adapter of `peers/`
in the first `--peer-python` that has its packages. A row or a peer that cannot run says
why. With a GPU, the rows of `gpu.py` follow.
"""

import argparse
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import scaling
from performance_rows import ROWS, Peer, Row

HERE = Path(__file__).parent


class Failed(Exception):  # noqa: N818 - not an error of this script
    """Why a program has no rate."""


class Program:
    """A running program of a row."""

    def __init__(
        self,
        python: str,
        script: str,
        arguments: dict[str, Any],
        one_core: bool,
        limit: float,
    ) -> None:
        """Starts it and waits until it is warm.

        Raises:
          Failed: it ended, or was not ready in `limit` seconds.
        """
        command = ["taskset", "-c", "0"] if one_core else []
        command += [python, str(HERE / "peers" / f"{script}.py"), json.dumps(arguments)]
        env = dict(os.environ)
        if script != "pgcli_run":
            env.pop("PYTHONPATH", None)
        if arguments.get("members"):
            # vmapped programs of PureJaxRL hang with as many threads as two cores
            env |= {"NPROC": "4", "PJRT_NPROC": "4"}
        pipe, self._errors = subprocess.PIPE, tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True, env=env
        )
        self._limit = limit
        try:
            while self._line() != "ready":
                pass
        except Failed:
            self.close()
            raise

    def _line(self) -> str:
        if not select.select([self._process.stdout], [], [], self._limit)[0]:
            raise Failed(f"no answer in {self._limit:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            said = self._errors.read().strip().splitlines()
            raise Failed(said[-1] if said else "ended without a message")
        return line.strip()

    def measure(self, seconds: float) -> dict[str, float]:
        """Rate and memory of one round."""
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        while not (text := self._line()).startswith("{"):
            pass
        answer: dict[str, float] = json.loads(text)
        return answer

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


def find_python(pythons: list[str], needs: tuple[str, ...]) -> str:
    """The first Python that has some packages.

    Raises:
      Failed: none has.
    """
    code = "import sys, importlib.util as u;"
    code += "sys.exit(None in map(u.find_spec, sys.argv[1:]))"
    for python in pythons:
        if (
            subprocess.run(
                [python, "-c", code, *needs],
                check=False,
            ).returncode
            == 0
        ):
            return python
    raise Failed(f"no --peer-python has {' and '.join(needs)}")


def start_peer(peer: Peer, row: Row, options: argparse.Namespace) -> Program:
    """A peer of a row, warm."""
    arguments = dict(peer.arguments)
    if peer.script == "purejaxrl":
        if not options.purejaxrl:
            raise Failed("--purejaxrl names no clone")
        arguments["path"] = options.purejaxrl
    python = find_python(options.peer_python, peer.needs)
    return Program(python, peer.script, arguments, row.one_core, options.limit)


def measure(row: Row, options: argparse.Namespace) -> dict[str, Any]:
    """Medians by program, and why others have none."""
    programs, result = {}, {"rates": {}, "missing": {}, "bytes": {}}
    starts = {
        "pgcli": lambda: Program(
            sys.executable, "pgcli_run", {"sets": row.sets}, row.one_core, options.limit
        )
    }
    for peer in row.peers if options.peers else ():
        starts[peer.name] = lambda peer=peer: start_peer(peer, row, options)
    rounds: dict[str, list[float]] = {}
    try:
        for name, start in starts.items():
            try:
                programs[name] = start()
            except Failed as error:
                result["missing"][name] = str(error)
        for _ in range(options.rounds):
            for name, program in list(programs.items()):
                try:
                    answer = program.measure(options.seconds)
                except (Failed, OSError) as error:
                    result["missing"][name] = str(error)
                    programs.pop(name).close()
                    continue
                rounds.setdefault(name, []).append(answer["rate"])
                result["bytes"][name] = answer["bytes"]
    finally:
        for program in programs.values():
            program.close()
    result["rates"] = {
        name: statistics.median(values) for name, values in rounds.items()
    }
    return result


def line(name: str, result: dict[str, Any]) -> str:
    """A row of the table, in Markdown."""
    found, missing = dict(result["rates"]), result["missing"]
    own = found.pop("pgcli", None)
    peers = [f"{peer} {rate:,.0f}" for peer, rate in found.items()]
    peers += [f"{peer}: {why}" for peer, why in missing.items() if peer != "pgcli"]
    ratios = ", ".join(f"{own / rate:.2f}" for rate in found.values()) if own else ""
    measured = f"{own:,.0f}" if own else missing["pgcli"]
    cells = (name, measured, ", ".join(peers) or "–", ratios or "–")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Parses the command line, measures row by row, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--limit", type=float, default=90.0, help="seconds until an answer"
    )
    parser.add_argument("--peers", action="store_true", help="run the peers too")
    parser.add_argument("--peer-python", action="append", default=[], metavar="PATH")
    parser.add_argument("--purejaxrl", metavar="CLONE", help="clone of PureJaxRL")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there"
    )
    parser.add_argument("--scaling", type=Path, metavar="SVG", help="only that chart")
    options = parser.parse_args()
    if options.scaling:
        scaling.draw(options, Program)
        return
    began, entries = time.perf_counter(), {}
    print("| shape | pgcli | peer | ratio |\n|---|---|---|---|", flush=True)
    for name, row in ROWS.items():
        if options.only.replace(" x ", " × ") in name:
            entries[name] = measure(row, options)
            print(line(name, entries[name]), flush=True)
            if options.json:
                options.json.write_text(json.dumps(entries) + "\n", encoding="utf-8")
    for name, entry in entries.items():
        found, target = dict(entry["rates"]), ROWS[name].target
        own = found.pop("pgcli", 0.0)
        for peer, rate in found.items() if target else ():
            if own < target * rate:
                print(f"\n{name}: {own / rate:.2f} of {peer}, target {target:g}")
    print(f"\n{(time.perf_counter() - began) / 60:.1f} minutes")
    if "gpu" in find_platforms():
        subprocess.run([sys.executable, str(HERE / "gpu.py")], check=False)


def find_platforms() -> set[str]:
    """Platforms that JAX sees, asked in a process of its own."""
    command = [sys.executable, "-m", "pgcli", "doctor", "--json", "-q"]
    answer = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=False).stdout
    )
    return {device["platform"] for device in answer["devices"]}


if __name__ == "__main__":
    main()
