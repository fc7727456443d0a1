"""Run directories as training leaves them, written without training."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.small_runs import resolved

from pgcli.config.dump import to_yaml
from pgcli.storage.run_directory import RunDirectory
from pgcli.training import machine

Rows = Sequence[Mapping[str, Any]]


def write_run(
    runs_dir: Path,
    name: str,
    *sets: str,
    env: str = "func:CartPole-v1",
    metrics: Rows = (),
    evals: Rows = (),
    result: Mapping[str, Any] | None = None,
) -> RunDirectory:
    run = RunDirectory.create(runs_dir, name=name, algo="ppo2", env_id=env)
    asked = resolved(env, *sets)
    run.write_config(to_yaml(asked.config))
    used = {"platform": "cpu", "kind": "cpu", "devices": 2}
    facts = {"origins": asked.origins, "accelerator": used, "seed": asked.config.seed}
    versions = {"jax": "0.10.2"}
    run.write_meta({**facts, "machine": machine.describe(), "versions": versions})
    for path, rows in ((run.metrics_jsonl, metrics), (run.eval_jsonl, evals)):
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if result is not None:
        run.write_result(result)
    return run


def returns(*values: float, **others: Any) -> Rows:
    """Rows of metrics.jsonl at steps 100, 200, …"""
    return [
        {"iteration": i, "steps": 100 * i, "return_mean": value, "kl": 0.01, **others}
        for i, value in enumerate(values, 1)
    ]


def evaluation(mean: float, steps: int = 300) -> dict[str, Any]:
    """Statistics of an evaluation whose interval is the mean ± 2."""
    return {
        "iteration": steps // 100,
        "steps": steps,
        "return_mean": mean,
        "return_ci": [mean - 2, mean + 2],
        "episodes": 20,
        "deterministic": True,
    }


def ended(mean: float, **others: Any) -> dict[str, Any]:
    """The result of a run that used its budget."""
    return {
        "ok": True,
        "stopped": "budget",
        "steps": {"asked": 300, "used": 300},
        "seconds": {"total": 61.0, "compile": 2.5, "train": 50.0},
        "steps_per_second": 6.0,
        "train": {"return_mean": mean - 1},
        "eval": evaluation(mean),
        "checkpoint": "checkpoints/000000003",
        **others,
    }
