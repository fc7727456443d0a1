"""`pgcli reproduce`: a run trained again from its configuration, and compared."""

import contextlib
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pgcli.config.load import of_run
from pgcli.envs import user_modules
from pgcli.errors import ExitCode, PgcliError, UsageError
from pgcli.storage import checkpoint, json_files
from pgcli.storage.manifest import NAME as MANIFEST
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.reporter import Reporter
from pgcli.training.run import train
from pgcli.training.stops import Progress

MOST_KEYS = 6
"""Differing keys of a row that are reported."""


class NotReproducedError(PgcliError):
    """A run differs from its recorded metrics."""

    exit_code = ExitCode.NOT_REPRODUCED


class _EnoughIterations(Exception):  # noqa: N818 - a request, not an error
    """The iterations to be compared are done."""


def reproduce(
    run: RunDirectory, folder: Path, *, iterations: int | None, reporter: Reporter
) -> dict[str, Any]:
    """The comparison of a run with itself, trained again in `folder`.

    All recorded iterations are compared, or the first ones.

    Raises:
      NotReproducedError: a recorded value differs; its `result` is the comparison.
      UsageError: nothing is recorded.
    """
    # what is recorded
    meta = run.read_meta()
    last = json_files.last_row(run.metrics_jsonl).get("iteration", 0)
    if not last:
        raise UsageError("the run has no metrics to compare with", where=str(run.path))
    count = min(iterations or last, last)
    result = run.read_result()
    # a run that the clock or its caller has ended is compared up to there
    cut = ("max_seconds", "on_iteration")
    whole = count == last and result and result["stopped"] not in cut
    user_modules.require_all(meta, str(run.path))
    resolved = of_run(run.config_yaml)
    changes = {"max_seconds": None, "log.sinks": ()}  # not logged a second time
    config = resolved.config.with_values(changes)
    resolved = dataclasses.replace(resolved, config=config, preset=meta.get("preset"))

    # the same again
    def enough(progress: Progress) -> None:
        if not whole and progress.iteration >= count:
            raise _EnoughIterations

    again_result = None
    with contextlib.suppress(_EnoughIterations):
        again_result = train(
            resolved,
            runs_dir=folder,
            name=run.name,
            reporter=reporter,
            on_iteration=enough,
            init_from=(meta.get("init_from") or {}).get("checkpoint"),
            recorded=meta.get("accelerator"),
        )
    again = RunDirectory(folder / run.name)
    compared = compare(run, again, count, whole=bool(whole))
    compared["ok"] = compared["first_difference"] is None
    if again_result is not None and compared["ok"]:
        before = (run.read_result() or {}).get("eval")
        compared["eval_equal"] = json.dumps(before) == json.dumps(again_result["eval"])
        compared["ok"] = compared["eval_equal"]
    if not compared["ok"]:
        raise _not_reproduced(compared, run)
    return compared


def compare(
    before: RunDirectory, again: RunDirectory, last: int, *, whole: bool
) -> dict[str, Any]:
    """Equal and different rows of two runs, up to an iteration.

    If only a part was trained, it may have ended before its last evaluation.
    """
    found: list[dict[str, Any]] = []
    compared: dict[str, Any] = {"run": before.name, "iterations": last}
    for name in ("metrics.jsonl", "eval.jsonl"):
        end = last if whole or name == "metrics.jsonl" else last - 1
        rows = [_rows(run.path / name, end) for run in (before, again)]
        compared[name] = {
            "rows": len(rows[0]),
            "equal": sum(a == b for a, b in zip(*rows, strict=False)),
        }
        if (difference := _first_difference(*rows)) is not None:
            found.append({"file": name, **difference})
    hashes = [_hashes(run) for run in (before, again)]
    common = sorted(hashes[0].keys() & hashes[1].keys())
    equal = [name for name in common if hashes[0][name] == hashes[1][name]]
    compared["checkpoints"] = {"compared": len(common), "equal": len(equal)}
    found += [
        {"file": name, "iteration": int(name), "values": {}}
        for name in common
        if name not in equal
    ]
    compared["first_difference"] = min(
        found, key=lambda each: each["iteration"] or 0, default=None
    )
    compared["environment"] = _environment(before.read_meta(), again.read_meta())
    return compared


def _rows(path: Path, last: int) -> list[bytes]:
    """The rows of a log up to an iteration, as they are stored."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    return [line for line in lines if json.loads(line)["iteration"] <= last]


def _first_difference(
    before: Sequence[bytes], again: Sequence[bytes]
) -> dict[str, Any] | None:
    """The first row that differs: iteration, member and [recorded, now] by key."""
    for a, b in zip(before, again, strict=False):
        if a != b:
            then, now = json.loads(a), json.loads(b)
            keys = [key for key in then | now if then.get(key) != now.get(key)]
            values = {key: [then.get(key), now.get(key)] for key in keys[:MOST_KEYS]}
            member = then.get("member")
            return {
                "iteration": then["iteration"],
                "member": member,
                "values": values,
                "keys": len(keys),
            }
    if len(before) != len(again):
        rest = max(before, again, key=len)[min(len(before), len(again))]
        return {"iteration": json.loads(rest)["iteration"], "values": {}}
    return None


def _hashes(run: RunDirectory) -> dict[str, str]:
    """SHA-256 of the agent in every checkpoint of a run."""
    found = {}
    for path in checkpoint.committed(run.checkpoints):
        files = (json_files.read_object(path / MANIFEST) or {}).get("files", {})
        found[path.name] = str(files.get("agent.safetensors"))
    return found


def _environment(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """[recorded, now] of the versions and the hardware that differ."""
    pairs = {}
    for part in ("versions", "accelerator"):
        before, after = then.get(part) or {}, now.get(part) or {}
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                pairs[key] = [before.get(key), after.get(key)]
    return pairs


def _not_reproduced(compared: Mapping[str, Any], run: RunDirectory) -> PgcliError:
    """The error for a run that differs, with its likely reason."""
    first = compared["first_difference"]
    if first is None:
        message = "the metrics are equal, but the final evaluation differs"
    else:
        values = ", ".join(
            f"{key} {then} recorded, {now} now"
            for key, (then, now) in list(first["values"].items())[:2]
        )
        message = f"iteration {first['iteration']} is the first that differs "
        message += f"({first['file']}{': ' if values else ''}{values})"
    differing = compared["environment"]
    help = "no recorded version or hardware differs: the environment may be random, "
    help += "or the source has changed"
    if differing:
        help = "what differs: " + "; ".join(
            f"{key} {then} then, {now} now" for key, (then, now) in differing.items()
        )
    return NotReproducedError(message, where=str(run.path), help=help, result=compared)
