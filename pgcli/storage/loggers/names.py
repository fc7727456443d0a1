"""Names of metrics in loggers: `GROUP/KEY`, where KEY is that of the run's own logs."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pgcli.storage.json_files import jsonable

Group = Literal["train", "eval", "time", "final"]

LOSSES = frozenset(
    {
        "policy_loss",
        "value_loss",
        "grad_norm",
        "explained_variance",
        "cg_residual",
        "predicted_improvement",
        "improvement",
    }
)
"""Keys of metrics.jsonl that are in the group `loss`; the others are in `train`."""

_OF_THE_ROW = {"steps", "member", "seed"}


def grouped(group: Group, row: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a row under grouped names.

    Columns that identify the row are left out: those of a member, and the iteration
    except in `train`. An interval becomes two numbers.
    """
    values: dict[str, float] = {}
    for key, value in jsonable(dict(row)).items():
        # keys of the grid have a dot
        if (
            key in _OF_THE_ROW
            or "." in key
            or (key == "iteration" and group != "train")
        ):
            continue
        name = f"{'loss' if group == 'train' and key in LOSSES else group}/{key}"
        if key.endswith("_ci") and isinstance(value, list) and len(value) == 2:
            numbers = {f"{name}_low": value[0], f"{name}_high": value[1]}
        else:
            numbers = {name: value}
        for each, number in numbers.items():
            if isinstance(number, int | float) and not isinstance(number, bool):
                values[each] = number
    return values


def final(result: Mapping[str, Any]) -> Iterator[tuple[int, dict[str, float]]]:
    """(member, numbers) of the result of a run, by member."""
    training = (result.get("train") or {}).get("return_mean")
    alone = {"train_return_mean": training, "eval": result.get("eval")}
    for index, entry in enumerate(result.get("members") or [alone]):
        of_train = {"train_return_mean": entry.get("train_return_mean")}
        yield index, grouped("final", of_train | (entry.get("eval") or {}))
