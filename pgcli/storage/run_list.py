"""The runs in a directory, as `pgcli runs list` shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgcli.errors import CheckpointError
from pgcli.storage import json_files
from pgcli.storage.run_directory import RunDirectory, names


@dataclass(frozen=True)
class RunSummary:
    """A run in the list of `pgcli runs`; unknown values are None.

    Attributes:
      status: `running` (a live process holds the lock), `finished`, `stopped` or
        `damaged`.
      steps: training steps so far.
      eval_return: mean return of the final evaluation, else of the last one; of all
        members if there are several.
      created: time of creation, in UTC.
      values: the text of every key of the configuration.
    """

    name: str
    path: Path
    algo: str | None
    env: str | None
    seed: int | None
    status: str
    steps: int | None
    eval_return: float | None
    created: str | None
    values: Mapping[str, str]


def list_runs(runs_dir: Path) -> list[RunSummary]:
    """The runs in a directory, oldest first, including damaged ones."""
    runs = [summarize(RunDirectory(runs_dir / name)) for name in names(runs_dir)]
    return sorted(runs, key=lambda run: (run.created or "", run.name))


def summarize(run: RunDirectory) -> RunSummary:
    """The summary of a run; unreadable values are None."""
    # the status
    meta: dict[str, Any] = {}
    result: dict[str, Any] = {}
    status = "stopped"
    try:
        meta = run.read_meta()
        result = run.read_result() or {}
    except CheckpointError:
        status = "damaged"
    if result and result.get("stopped") != "signal":
        status = "finished"
    if run.is_locked():
        status = "running"

    # steps and score of the result, else of the last rows of the logs
    steps = _number(_part(result, "steps").get("used"))
    if steps is None:
        steps = _number(json_files.last_row(run.metrics_jsonl).get("steps"))
    score = _number(_part(result, "eval").get("return_mean"))
    if score is None:
        rows = json_files.last_rows(run.eval_jsonl)
        known = [_number(row.get("return_mean")) for row in rows]
        scores = [x for x in known if x is not None]
        score = sum(scores) / len(scores) if scores else None
    seed = _number(meta.get("seed"))
    return RunSummary(
        name=run.name,
        path=run.path,
        algo=_text(meta.get("algo")),
        env=_text(meta.get("env")),
        seed=None if seed is None else int(seed),
        status=status,
        steps=None if steps is None else int(steps),
        eval_return=score,
        created=_text(meta.get("created")),
        values=_values(run.config_yaml),
    )


def _part(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = tree.get(key)
    return part if isinstance(part, dict) else {}


def _number(value: Any) -> float | None:
    return value if type(value) in (int, float) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _values(path: Path) -> dict[str, str]:
    """The text of every key in a config.yaml of pgcli, which has one key per line.

    A YAML parser would need 20 ms a file.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    values, section = {}, ""
    for line in lines:
        key, colon, text = line.strip().partition(":")
        if not line.startswith(" "):
            section = "" if text else f"{key}."
        if colon and text:
            values[section + key] = text.strip()
    return values
