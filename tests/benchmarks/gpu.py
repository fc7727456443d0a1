"""The figures that need a GPU, in one call: a table, and its rows as JSON.

    python tests/benchmarks/gpu.py [--json FILE] [--only Breakout]
    python tests/benchmarks/gpu.py --small      # a dry run in minutes, also on a CPU

Each row runs in processes of its own and under a time limit; one that cannot run says
why, and the others go on. Nothing is compiled beforehand: every row has a compilation
cache of its own, which is empty (in the dry run, it is the usual one).
"""

import argparse
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CARTPOLE = {
    "env.num_envs": 4,
    "rollout.num_steps": 128,
    "algo.num_epochs": 4,
    "algo.num_minibatches": 4,
    "optimizer.lr": 2.5e-4,
    "optimizer.schedule": "linear",
}
"""The shape of the published figures: PureJaxRL's on CartPole."""
BREAKOUT = {
    "env.num_envs": 64,
    "rollout.num_steps": 128,
    "algo.num_epochs": 4,
    "algo.num_minibatches": 8,
    "algo.entropy_coef": 0.01,
    "network.torso": "grid_cnn",
    "network.hidden": "[64]",
    "network.activation": "relu",
    "network.shared": "true",
    "optimizer.lr": 2e-3,
    "optimizer.schedule": "linear",
}
ANT = {
    "rollout.num_steps": 16,
    "algo.num_epochs": 4,
    "algo.num_minibatches": 16,
    "network.hidden": "[128, 128]",
    "normalize.obs": "true",
}
ONCE = {
    "rollout.num_steps": 64,
    "algo.num_epochs": 1,
    "algo.num_minibatches": 4,
}


class Found(NamedTuple):
    """What a row measured."""

    text: str
    reached: bool
    values: dict[str, Any]
    """The figures behind the text, for the JSON."""


class Row(NamedTuple):
    """A row of the table."""

    measure: Callable[["Machine"], Found]
    target: str
    published: str
    needs: tuple[tuple[str, str], ...] = ()
    """(module, extra that brings it): one of these must be there."""
    minutes: float = 5.0


class Machine(NamedTuple):
    """Where a row runs, and how much of it."""

    small: bool
    has_gpu: bool

    def pick(self, whole: Any, small: Any) -> Any:
        """One of two sizes."""
        return small if self.small else whole


class RowFailed(Exception):  # noqa: N818 - not an error of this script
    """A row that came to no figure, and why."""


# -- processes -----------------------------------------------------------------------


def run(command: list[str], seconds: float | None = None) -> str:
    """What a command prints on stdout; all of its processes end with it.

    Raises:
      RowFailed: it failed, or took longer.
    """
    with tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            # the row's own processes stay in its group, to be ended with it
            start_new_session=seconds is not None,
        )
        try:
            out, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise RowFailed(f"not done after {seconds:,.0f} s") from None
        finally:
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    end = os.killpg if seconds is not None else os.kill
                    end(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode:
            err.seek(0)
            lines = (out + err.read()).strip().splitlines()
            said = lines[-1] if lines else f"exit code {process.returncode}"
            raise RowFailed(_message(out) or said)
    return out


def _message(out: str) -> str:
    """The message in pgcli's answer, where the output is one that has it."""
    try:
        return str(json.loads(out)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def pgcli(*words: str, sets: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object of a command of pgcli."""
    command = [sys.executable, "-m", "pgcli", *words, "--json", "-q"]
    for key, value in (sets or {}).items():
        command += ["--set", f"{key}={value}"]
    answer: dict[str, Any] = json.loads(run(command))
    return answer


def train(env: str, steps: int, *words: str, sets: dict[str, Any]) -> dict[str, Any]:
    """The result of a training, `wall` added: seconds from start to end of its process.

    Nothing is evaluated on the way, and little is written: it is training that counts.
    """
    quiet = {"eval.every": 0, "eval.episodes": 4, "eval.final_episodes": 4}
    quiet |= {"checkpoint.every": 2**40, "log.every": 1000}
    with tempfile.TemporaryDirectory() as runs:
        words = ("--env", env, "--steps", str(steps), "--runs-dir", runs, *words)
        start = time.perf_counter()
        result = pgcli("train", "--algo", "ppo2", *words, sets={**quiet, **sets})
    return {**result, "wall": time.perf_counter() - start}


def bench(env: str, seconds: float, *words: str, sets: dict[str, Any]) -> float:
    """Steps per second of whole iterations, warm."""
    words = ("--env", env, "--seconds", str(seconds), *words)
    rates = pgcli("bench", "--algo", "ppo2", *words, sets=sets)["rates"]
    return float(rates["whole"])


# -- rows ----------------------------------------------------------------------------


def agents(number: int, limit: float) -> Callable[[Machine], Found]:
    """Many agents, 500,000 steps each, from the prompt to the result."""

    def measure(machine: Machine) -> Found:
        count, steps = machine.pick((number, 500_000), (number // 64, 4_096))
        words = ("--no-preset", "--seeds", str(count))
        result = train("gymnax:CartPole-v1", steps, *words, sets=CARTPOLE)
        wall, parts = result["wall"], result["seconds"]
        rate = count * result["steps"]["used"] / wall
        text = (
            f"{wall:.1f} s ({parts['compile']:.1f} s compiling), "
            f"{rate / 1e6:.2f}M steps/s, return {result['train']['return_mean']:.0f}"
        )
        values = {"agents": count, "steps": steps, "wall_s": wall, "rate": rate}
        learned = {"return_mean": result["train"]["return_mean"]}
        return Found(text, wall <= limit, {**values, **parts, **learned})

    return measure


def one_more_seed(machine: Machine) -> Found:
    """What one more seed costs, as a share of a run alone: (t₁₆ - t₁) / 15 t₁."""
    steps, seconds = machine.pick(500_000, 20_000), {}
    for count in (1, 16):
        words = ("--no-preset", "--seeds", str(count))
        result = train("gymnax:CartPole-v1", steps, *words, sets=CARTPOLE)
        seconds[count] = result["seconds"]["train"]
    share = (seconds[16] - seconds[1]) / 15 / seconds[1]
    text = f"{share:.3f} of a run alone ({seconds[1]:.2f} s; 16: {seconds[16]:.2f} s)"
    values = {"share": share, "alone_s": seconds[1], "sixteen_s": seconds[16]}
    return Found(text, share <= 1 / 8, values)


def breakout(number: int, limit: float) -> Callable[[Machine], Found]:
    """MinAtar's Breakout, a million steps each: compiling and training."""

    def measure(machine: Machine) -> Found:
        count, steps = machine.pick((number, 1_000_000), (min(number, 2), 16_384))
        words = ("--no-preset", "--seeds", str(count))
        result = train("gymnax:Breakout-MinAtar", steps, *words, sets=BREAKOUT)
        parts = result["seconds"]
        each = parts["total"] / count
        text = (
            f"{each:.3g} s{' each' if number > 1 else ''} "
            f"({parts['compile']:.1f} s of {parts['total']:.1f} s compiling), "
            f"return {result['train']['return_mean']:.1f}"
        )
        values = {"agents": count, "steps": steps, "each_s": each, **parts}
        learned = {"return_mean": result["train"]["return_mean"]}
        return Found(text, each <= limit, {**values, **learned})

    return measure


def best_rate(
    env: str, sets: dict[str, Any], sizes: tuple[int, ...], small: tuple[int, ...]
) -> Callable[[float], Callable[[Machine], Found]]:
    """The best rate of whole iterations over numbers of environments."""

    def at_least(limit: float) -> Callable[[Machine], Found]:
        def measure(machine: Machine) -> Found:
            rates = {
                number: bench(
                    env,
                    machine.pick(8.0, 1.0),
                    "--no-preset",
                    sets={**sets, "env.num_envs": number},
                )
                for number in machine.pick(sizes, small)
            }
            number = max(rates, key=lambda n: rates[n])
            text = f"{rates[number]:,.0f} steps/s with {number:,} environments"
            return Found(text, rates[number] >= limit, {"rates": rates})

        return measure

    return at_least


def atari(machine: Machine) -> Found:
    """Minutes for 10 million steps of Pong, projected from the rate of the preset."""
    rates = {}
    for module, env in (("ale_py", "ALE/Pong-v5"), ("envpool", "envpool:Pong-v5")):
        if importlib.util.find_spec(module):
            preset = ("-c", "ppo2/ALE-Pong-v5")
            sets = machine.pick({}, {"rollout.num_steps": 4})
            if module == "envpool":
                sets = {**sets, "env.kwargs": "{}"}
            rates[env] = bench(env, machine.pick(40.0, 1.0), *preset, sets=sets)
    env = max(rates, key=lambda key: rates[key])
    minutes = 1e7 / rates[env] / 60
    cores = len(os.sched_getaffinity(0))
    text = f"{minutes:.1f} min projected, {env}, {rates[env]:,.0f}/s, {cores} cores"
    return Found(text, minutes <= 15, {"rates": rates, "minutes": minutes})


def same_returns(machine: Machine) -> Found:
    """Training and evaluation returns of CPU and GPU, as differences of their means.

    The budget ends while agents still differ: returns that are all 500 would agree
    whatever the hardware did.
    """
    from pgcli.arrays.statistics import bootstrap_interval

    seeds, steps = machine.pick((32, 30_000), (4, 2_048))
    where = ("cpu", "gpu" if machine.has_gpu else "cpu")
    reached: dict[str, list[np.ndarray]] = {"training": [], "evaluation": []}
    for side, accelerator in enumerate(where):
        # without a GPU, other seeds on the CPU: the same ones would be the same runs
        first = 0 if machine.has_gpu else side * seeds
        words = ("--accelerator", accelerator, "--seeds", f"{first}:{first + seeds}")
        sets = {"eval.episodes": 20, "eval.final_episodes": 20}
        members = train("func:CartPole-v1", steps, *words, sets=sets)["members"]
        training = [m["train_return_mean"] for m in members]
        evaluation = [m["eval"]["return_mean"] for m in members]
        reached["training"].append(np.array(training))
        reached["evaluation"].append(np.array(evaluation))
    values, texts = {}, []
    for kind, (cpu, other) in reached.items():
        low, high = bootstrap_interval(
            other, cpu, statistic=lambda a, b: a.mean(axis=-1) - b.mean(axis=-1)
        )
        gap = float(other.mean() - cpu.mean())
        values[kind] = {"difference": gap, "ci": [low, high], "cpu": cpu.mean()}
        texts.append(f"{kind} {gap:+.1f} [{low:+.1f}, {high:+.1f}]")
    low, high = values["training"]["ci"]
    text = f"{where[1]} − cpu: {', '.join(texts)}; {seeds} seeds each"
    return Found(text, low <= 0 <= high, values)


GYMNAX = (("gymnax", "gymnax"),)
ROWS: dict[str, Row] = {
    "256 agents, CartPole, 500k steps each": Row(
        agents(256, 25), "≤ 25 s", "PureJaxRL 48 s (A40-class)", GYMNAX
    ),
    "2048 agents, CartPole, 500k steps each": Row(
        agents(2048, 50), "≤ 50 s", "PureJaxRL ≈ 98 s (A100)", GYMNAX
    ),
    "16 seeds against one": Row(one_more_seed, "≤ 0.125 of a run", "–", GYMNAX),
    "Breakout-MinAtar, 1M steps, one agent": Row(
        breakout(1, 6), "≤ 6 s", "Rejax 10.5 s (A100)", GYMNAX
    ),
    "Breakout-MinAtar, 1M steps, 300 agents": Row(
        breakout(300, 0.1), "≤ 0.1 s each", "Rejax 0.2 s each (A100)", GYMNAX
    ),
    "Ant, training": Row(
        best_rate("brax:ant", ANT, (2048, 4096, 8192), (16,))(500_000),
        "≥ 500,000 steps/s",
        "320k to 437k steps/s (A100)",
        (("brax", "brax"),),
        minutes=8.0,
    ),
    "largest native rate": Row(
        best_rate("func:CartPole-v1", ONCE, (4096, 16384, 65536), (256,))(4e6),
        "≥ 4,000,000 steps/s",
        "PufferLib 1.2M (v2), 4M (v3) steps/s",
    ),
    "Atari, 10M steps": Row(
        atari,
        "≤ 15 min, 16 cores",
        "CleanRL, EnvPool and XLA: 34 min",
        (("ale_py", "atari"), ("envpool", "envpool")),
    ),
    "CPU and GPU, the same returns": Row(
        same_returns, "training: 0 in the 95 % interval", "–"
    ),
}


# -- the table -----------------------------------------------------------------------


def cannot_run(row: Row, machine: Machine) -> str:
    """Why a row cannot run here; empty where it can."""
    if not (machine.has_gpu or machine.small):
        return "JAX sees no GPU here (a dry run: --small)"
    missing = [
        extra for module, extra in row.needs if not importlib.util.find_spec(module)
    ]
    if row.needs and len(missing) == len(row.needs):
        return " or ".join(f"pip install 'pgcli-jax[{extra}]'" for extra in missing)
    return ""


def measure_apart(name: str, machine: Machine, minutes: float) -> dict[str, Any]:
    """A row's figures, from a process of its own and with an empty cache."""
    row = ROWS[name]
    entry = {"row": name, "target": row.target, "published": row.published}
    nothing = {"measured": None, "reached": None, "values": None}
    if reason := cannot_run(row, machine):
        return {**entry, **nothing, "reason": reason}
    command = [sys.executable, str(Path(__file__)), "--row", name]
    command += ["--small"] * machine.small + ["--has-gpu"] * machine.has_gpu
    start = time.perf_counter()
    try:
        with contextlib.nullcontext() if machine.small else fresh_cache():
            found = Found(*json.loads(run(command, 60 * minutes).splitlines()[-1]))
    except RowFailed as error:
        return {**entry, **nothing, "reason": str(error)}
    return {
        **entry,
        "measured": found.text,
        # a dry run says nothing of targets
        "reached": None if machine.small else found.reached,
        "values": found.values,
        "seconds": round(time.perf_counter() - start, 1),
    }


@contextlib.contextmanager
def fresh_cache() -> Iterator[None]:
    """Compiled programs are kept elsewhere, and not for long."""
    before = os.environ.get("PGCLI_CACHE")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PGCLI_CACHE"] = cache
        try:
            yield
        finally:
            os.environ.pop("PGCLI_CACHE")
            if before is not None:
                os.environ["PGCLI_CACHE"] = before


def show(entry: dict[str, Any]) -> None:
    """One row of the table, over as many lines as it needs."""
    words = {True: "reached", False: "not reached", None: "not judged"}
    measured = entry["measured"] or f"not measured: {entry['reason']}"
    verdict = words[entry["reached"]]
    print(f"{entry['row']:40} {verdict:12} target {entry['target']}")
    print(f"{'':40} {'measured':12} {measured}")
    print(f"{'':40} {'published':12} {entry['published']}", flush=True)


def main() -> None:
    """Parses the command line, measures row by row, prints and writes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the rows there"
    )
    parser.add_argument("--only", default="", help="rows with this in their name")
    parser.add_argument("--small", action="store_true", help="a dry run")
    parser.add_argument("--minutes", type=float, help="limit of each row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--has-gpu", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        try:
            found = ROWS[options.row].measure(Machine(options.small, options.has_gpu))
        except RowFailed as error:
            sys.exit(str(error))
        print(json.dumps(found))
        return
    doctor = pgcli("doctor")
    platforms = {device["platform"] for device in doctor["devices"]}
    machine = Machine(options.small, "gpu" in platforms)
    devices = ", ".join(f"{d['count']} × {d['kind']}" for d in doctor["devices"])
    versions = doctor["versions"]
    print(f"{devices}; {doctor['cores']} cores; jax {versions['jax']}\n")
    entries = []
    for name, row in ROWS.items():
        if options.only in name:
            entries.append(measure_apart(name, machine, options.minutes or row.minutes))
            show(entries[-1])
            if options.json:  # after every row: who ends this early keeps what there is
                about = {key: doctor[key] for key in ("devices", "cores", "versions")}
                text = json.dumps({**about, "small": options.small, "rows": entries})
                options.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
