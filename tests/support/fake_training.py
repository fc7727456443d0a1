"""A stand-in for `pgcli.training`: calls the reporter as training does, in no time."""

import contextlib
import copy
import os
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pgcli.training.reporter import RunInfo, Status

RESULT: dict[str, Any] = {
    "ok": True,
    "run": "ppo2-CartPole-v1-k3f9wq",
    "path": "runs/ppo2-CartPole-v1-k3f9wq",
    "algo": "ppo2",
    "env": "CartPole-v1",
    "preset": "ppo2/CartPole-v1",
    "seed": 3,
    "config": {"optimizer": {"lr": 1e-3}},
    "accelerator": "cpu",
    "steps": {"asked": 500_000, "used": 500_224},
    "seconds": {"total": 36.4, "compile": 3.2, "train": 33.0},
    "steps_per_second": 15_158.3,
    "train": {"return_mean": 471.25},
    "eval": {
        "return_mean": 489.1,
        "return_ci": [484.0, 493.2],
        "return_std": 23.5,
        "episodes": 100,
        "deterministic": True,
    },
    "checkpoint": "runs/ppo2-CartPole-v1-k3f9wq/checkpoints/000001954",
    "best": {
        "checkpoint": "runs/ppo2-CartPole-v1-k3f9wq/checkpoints/000001560",
        "return_mean": 500.0,
    },
    "stopped": "budget",
    "resume_level": None,
}

EVALUATION: dict[str, Any] = {
    "ok": True,
    "run": "ppo2-CartPole-v1-k3f9wq",
    "checkpoint": "runs/ppo2-CartPole-v1-k3f9wq/checkpoints/000001954",
    "iteration": 1954,
    "env": "CartPole-v1",
    "algo": "ppo2",
    "episodes": 2,
    "deterministic": True,
    "seed": 0,
    "run_seed": 3,
    "agent": "trained",
    "env_changes": {"env.kwargs": {"trained": {}, "evaluated": {"size": 5}}},
    "return_mean": 300.0,
    "return_std": 141.4213,
    "return_median": 300.0,
    "return_min": 200.0,
    "return_max": 400.0,
    "return_ci": [200.0, 400.0],
    "length_mean": 300.0,
    "per_episode": [
        {"episode": 0, "env": 0, "seed": 11, "return": 200.0, "length": 200},
        {"episode": 1, "env": 1, "seed": 12, "return": 400.0, "length": 400},
    ],
}


def info(**changes: Any) -> RunInfo:
    """What `started` is told."""
    values: dict[str, Any] = {
        "algo": "ppo2",
        "env": "CartPole-v1",
        "backend": "host",
        "num_envs": 8,
        "seed": 3,
        "accelerator": "cpu",
        "name": RESULT["run"],
        "path": Path(RESULT["path"]),
        "preset": "ppo2/CartPole-v1",
        "steps": 500_000,
        "first_step": 0,
        "resume_level": None,
    }
    return RunInfo(**(values | changes))


def status(step: int, **changes: Any) -> Status:
    """The state of a run that learns, after `step` of 500,000 steps."""
    part = step / 500_000
    values: dict[str, Any] = {
        "iteration": step // 256,
        "steps": step,
        "budget": 500_000,
        "seconds": step / 14_800,
        "steps_per_second": 14_800.0,
        "metrics": {
            "return_mean": 20 + 455 * part if part > 0.02 else None,
            "length_mean": 20 + 455 * part if part > 0.02 else None,
            "kl": 0.0081,
            "clip_fraction": 0.11,
            "entropy": 0.69 - 0.2 * part,
            "value_loss": 8.31,
            "explained_variance": 0.87 * part,
        },
        "best_eval": 471.2 if part > 0.1 else None,
        "last_saved_iteration": 140 if part > 0.1 else None,
    }
    return Status(**(values | changes))


def train(resolved: Any, *, reporter: Any, seconds: float = 0.0, **_: Any) -> Any:
    """Reports what a run would, over `seconds`."""
    reporter.started(info(seed=resolved.config.seed))
    reporter.compiling()
    time.sleep(seconds / 5)
    print("a library prints to stdout")  # noqa: T201
    with contextlib.suppress(OSError):
        os.write(1, b"native code too\n")
    for part in range(1, 51):
        reporter.progress(status(part * 10_000))
        if part % 10 == 0:
            row = RESULT["eval"] | {"steps": part * 10_000, "return_mean": 9.0 * part}
            reporter.evaluated(row)
            reporter.saved(Path(RESULT["checkpoint"]), part * 39)
        if part == 30:
            reporter.warn("a warning, in words")
        time.sleep(seconds / 50)
    return RESULT | {"seed": resolved.config.seed}


def evaluate(target: str, **_: Any) -> Any:
    """The evaluation of two episodes."""
    print("a library prints to stdout")  # noqa: T201
    return copy.deepcopy(EVALUATION)


def find_checkpoint(target: str, runs_dir: Path, best: bool = False) -> Path:
    """The target itself: every run and checkpoint exists."""
    return Path(target)


def preview(config: Any) -> dict[str, Any]:
    """Facts about a run, without an environment."""
    return {
        "warning": None,
        "accelerator": "cpu",
        "devices": 1,
        "observations": "float32[4]",
        "actions": "Discrete(2)",
        "action_mask": None,
        "time_limit": 500,
        "parameters": 9155,
    }


def modules(
    train: Callable[..., Any] = train, evaluate: Callable[..., Any] = evaluate
) -> dict[str, SimpleNamespace]:
    """Stand-ins for the modules of `pgcli.training`, by name."""
    return {
        "run": SimpleNamespace(train=train, resume=train),
        "preview": SimpleNamespace(preview=preview),
        "evaluation.evaluate": SimpleNamespace(evaluate=evaluate),
        "evaluation.saved_agents": SimpleNamespace(find_checkpoint=find_checkpoint),
    }


def install(**functions: Callable[..., Any]) -> None:
    """Puts the stand-ins where the commands find the real ones."""
    for name, module in modules(**functions).items():
        room, _, last = f"pgcli.training.{name}".rpartition(".")
        setattr(import_module(room), last, module)
