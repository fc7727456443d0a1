"""Trains environments of other packages and prints what happens, as a table.

    nice python tests/benchmarks/wild.py
    nice python tests/benchmarks/wild.py --only minigrid highway-env --ids 3 --verbose

Each package is installed from the index into a virtual environment of its own, which
also sees the packages of this Python. Up to `--ids` of its environments, evenly spaced
in their sorted list, are trained for 256 steps, resumed and trained for 128 more, each
in a process of its own.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

INSTALL_SECONDS, RUN_SECONDS = 600, 180
PURELIB = Path(sysconfig.get_paths()["purelib"])
SETS = {
    "env.num_envs": 2,
    "host.workers": 0,
    "rollout.num_steps": 64,
    "algo.num_epochs": 1,
    "algo.num_minibatches": 1,
    "network.hidden": [16],
    "eval.every": 128,
    "eval.episodes": 1,
    "eval.final_episodes": 1,
}


class Package(NamedTuple):
    """A package, the module that registers its environments, and a filter of ids."""

    name: str
    module: str
    pattern: str = "."
    also: tuple[str, ...] = ()


PACKAGES = (
    Package("minigrid", "minigrid"),
    Package("highway-env", "highway_env"),
    Package("gymnasium-robotics", "gymnasium_robotics", also=("mujoco",)),
    Package("pybullet-envs-gymnasium", "pybullet_envs_gymnasium"),
    Package("panda-gym", "panda_gym"),
    Package("popgym", "popgym.envs"),
    Package("gym-anytrading", "gym_anytrading"),
    Package("flappy-bird-gymnasium", "flappy_bird_gymnasium"),
    Package("mo-gymnasium", "mo_gymnasium"),
    Package("bluesky-gym", "bluesky_gym"),
    Package("tetris-gymnasium", "tetris_gymnasium.envs"),
    Package("memory-gym", "memory_gym"),
    Package("nle", "nle"),
    Package("vizdoom", "vizdoom.gymnasium_wrapper"),
    Package("safety-gymnasium", "safety_gymnasium"),
)


def install(package: Package, folder: Path) -> tuple[Path, str]:
    """(Python of a new environment, installed version), or an error in its place."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    here = sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})
    own = Path(here["purelib"])
    (own / "parent.pth").write_text(f"{PURELIB}\n{Path(__file__).parents[2]}\n")
    pip = [str(python), "-m", "pip", "install", "-q", "--prefer-binary"]
    done = subprocess.run(
        [*pip, package.name, *package.also],
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    if done.returncode:
        lines = [x for x in done.stderr.splitlines() if "error" in x.lower()]
        raise RuntimeError(f"cannot be installed: {(lines or ['?'])[-1].strip()}")
    # versions, in this order: its own, and those that it may have replaced
    names = (package.name, "gymnasium", "numpy", "jax")
    code = f"from importlib.metadata import version; print(*map(version, {names}))"
    out = subprocess.check_output([python, "-c", code], text=True, cwd=folder)
    version, *others = out.split()
    if any((own / name).is_dir() for name in names[1:]):
        usable = "import pgcli.training.run; from gymnasium.vector import VectorWrapper"
        if subprocess.run([python, "-c", usable], capture_output=True).returncode:
            brought = "gymnasium {}, numpy {}, jax {}".format(*others)
            raise RuntimeError(f"it brings versions that do not fit: {brought}")
    return python, version


LIST = """
import sys, gymnasium
before = set(gymnasium.registry)
module = __import__(sys.argv[1])
print("\\n" + "\\n".join(sorted(set(gymnasium.registry) - before)))
"""


def ids(python: Path, package: Package, count: int) -> list[str]:
    """Up to `count` of the environments that a package registers."""
    done = subprocess.run(
        [python, "-c", LIST, package.module],
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"cannot be imported: {done.stderr.splitlines()[-1]}")
    every = [x for x in done.stdout.splitlines() if re.search(package.pattern, x) and x]
    count = min(count, len(every))
    return [every[i * len(every) // count] for i in range(count)]


def one(env_id: str, module: str, folder: str) -> dict[str, Any]:
    """Outcome of training and resuming one environment, in this process."""
    import pgcli
    from pgcli.envs import user_modules
    from pgcli.errors import PgcliError, UsageError

    user_modules.use([module])
    given = pgcli.configure(env=env_id, preset=False, steps=256, **SETS)
    try:
        pgcli.train(given, runs_dir=folder, name="run")
    except PgcliError as error:
        return {"outcome": "refused", "why": error.message}
    try:
        pgcli.resume("run", runs_dir=folder, steps=384, require_exact=True)
    except UsageError as error:
        pgcli.resume("run", runs_dir=folder, steps=384)
        return {"outcome": "trained", "exact": False, "why": error.help}
    return {"outcome": "trained", "exact": True, "why": None}


def tried(python: Path, package: Package, env_id: str) -> dict[str, Any]:
    """Outcome of `one` in a process of its own; `failed` if it does not return."""
    with tempfile.TemporaryDirectory() as folder:
        command = [python, __file__, "--one", env_id, package.module, folder]
        quiet = {"SDL_VIDEODRIVER": "dummy", "SDL_AUDIODRIVER": "dummy"}
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=RUN_SECONDS,
                check=False,
                env={**os.environ, **quiet, "JAX_PLATFORMS": "cpu"},
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            return {"outcome": "failed", "why": f"no end after {RUN_SECONDS} s"}
    for line in reversed(done.stdout.splitlines()):
        if line.startswith('{"outcome"'):
            answer: dict[str, Any] = json.loads(line)
            return answer
    last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
    return {"outcome": "failed", "why": f"exit {done.returncode}: {''.join(last)}"}


def short(text: str) -> str:
    """A reason without what differs between environments."""
    text = re.sub(r"environments? \d+( |:)|seed \d+|step \d+", "… ", text)
    return text.replace("|", "/").split(";")[0][:150]


def row(package: Package, count: int, verbose: bool) -> str:
    """A line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            python, version = install(package, Path(folder) / "venv")
            chosen = ids(python, package, count)
        except (RuntimeError, subprocess.SubprocessError) as error:
            return f"| {package.name} | 0 | | | | | {short(str(error))} |"
        outcomes = []
        for env_id in chosen:
            outcomes.append(tried(python, package, env_id))
            if verbose:
                print(f"  {env_id}: {outcomes[-1]}", file=sys.stderr, flush=True)
    counts = Counter(each["outcome"] for each in outcomes)
    exact = sum(bool(each.get("exact")) for each in outcomes)
    reasons = Counter(short(each["why"]) for each in outcomes if each["why"])
    why = "; ".join(f"{n} × {text}" for text, n in reasons.most_common(4))
    numbers = [
        len(chosen),
        counts["trained"],
        exact,
        counts["refused"],
        counts["failed"],
    ]
    return f"| {package.name} {version} | {' | '.join(map(str, numbers))} | {why} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", help="names of packages")
    parser.add_argument("--ids", type=int, default=12)
    parser.add_argument("--verbose", action="store_true", help="report every id")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        # on a line of its own: native code may have printed a part of a line
        print("\n" + json.dumps(one(*options.one)))
        return
    print("| package | ids | trained | exact | refused | failed | why not |")
    print("|---|---|---|---|---|---|---|")
    for package in PACKAGES:
        if not options.only or package.name in options.only:
            print(row(package, options.ids, options.verbose), flush=True)


if __name__ == "__main__":
    main()
