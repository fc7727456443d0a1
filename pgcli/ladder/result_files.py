"""Results of a ladder as files: JSON with everything, CSV with one row per rung."""

import json
from pathlib import Path
from typing import Any

from pgcli.report.text import csv_text
from pgcli.storage import files, json_files
from pgcli.storage.json_files import jsonable


def write(result: dict[str, Any], out: Path) -> dict[str, str]:
    """Writes `ladder.csv` and `ladder.json`; returns their paths."""
    return _write(result, to_csv(result), out, "ladder")


def write_variance(result: dict[str, Any], out: Path) -> dict[str, str]:
    """Writes `gradient_variance.csv` and `.json`; returns their paths."""
    rows = []
    for point in result["points"]:
        for row in point["rows"]:
            low, high = row["ci"] or (None, None)
            flat = {"policy": point["policy"], "steps": point["steps"], **row}
            rows.append({**flat, "low": low, "high": high})
            del rows[-1]["ci"]
    return _write(result, csv_text(rows), out, "gradient_variance")


def _write(result: dict[str, Any], table: str, out: Path, stem: str) -> dict[str, str]:
    paths = {kind: out / f"{stem}.{kind}" for kind in ("csv", "json")}
    files.ensure_directory(out)
    files.replace_bytes(paths["csv"], table.encode())
    json_files.write_object(paths["json"], jsonable(result))
    return {kind: str(path) for kind, path in paths.items()}


def to_csv(result: dict[str, Any]) -> str:
    """One row per rung, numbers with all digits."""
    return csv_text([_csv_row(row, result) for row in result["rungs"]])


def _csv_row(row: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {
        "algo": row["algo"],
        "env": result["env"],
        "steps": result["steps"],
        "seeds": len(row["runs"]),
        "preset": row["preset"],
        "lr": row["lr"],
    }
    for name in ("final", "auc", "eval"):
        score = row[name] or {}
        for key in ("iqm", "mean"):
            low, high = score.get(f"{key}_ci") or (None, None)
            flat[f"{name}_{key}"] = score.get(key)
            flat[f"{name}_{key}_low"], flat[f"{name}_{key}_high"] = low, high
        flat[f"{name}_worst"] = score.get("worst")
    reached = row["threshold"] or {}
    flat["threshold"] = result["threshold"]
    flat["steps_to_threshold_median"] = reached.get("median_steps")
    flat["reached_threshold"] = reached.get("reached")
    flat["kl"], flat["ess"], flat["diverged"] = row["kl"], row["ess"], row["diverged"]
    flat["settings"] = json.dumps(row["settings"], default=list)
    return flat
