"""Extraction of a member into a separate run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pgcli.config.load import from_checkpoint, to_mapping, to_yaml
from pgcli.config.members import Member, config_of, members
from pgcli.errors import UsageError
from pgcli.storage import checkpoint
from pgcli.storage.loggers.jsonl import JsonlWriter
from pgcli.storage.run_directory import RunDirectory
from pgcli.training.evaluation.saved_agents import find_member, of_member
from pgcli.training.loops.base import Groups, Stored
from pgcli.training.loops.host_env_checkpoint import arrays_of_member
from pgcli.training.run_meta import check_meta


def split_off(run: RunDirectory, text: str, runs_dir: Path) -> RunDirectory:
    """The run directory of a member, created from the newest verified checkpoint.

    Member 3 of the run `grid` becomes the run `grid-member3`, with its rows of the logs
    but without the columns that identify it. A directory that exists is returned
    unchanged.

    Raises:
      UsageError: the member does not exist, or it has diverged.
      CheckpointError: there is no checkpoint, or all are damaged.
      OSError: a write failed.
    """
    # the member
    stored, _ = checkpoint.newest_verified(run.checkpoints)
    check_meta(stored)
    config = from_checkpoint(stored.meta["config"], str(stored.path))
    several = members(config) if config.has_members else []
    member = find_member(several, text, str(run.path))

    # its run directory: an earlier one, or a new one
    name = f"{run.name}-member{member.index}"
    earlier = RunDirectory(runs_dir / name)
    if earlier.is_run() and not checkpoint.is_empty(earlier.checkpoints):
        return earlier
    reason = stored.meta["members"]["diverged"].get(str(member.index))
    if reason is not None:
        raise UsageError(f"the run of {member} diverged: {reason}", where=str(run.path))
    created = RunDirectory.create(
        runs_dir, name, config.algo.name, config.env.id, earlier.is_unfinished()
    )
    own = config_of(config, member)
    with created.lock():
        # metadata and configuration, then its rows of the logs
        facts = run.read_meta()
        changed = dict.fromkeys(("seed", "seeds", "grid", *member.values), run.name)
        origins = {**facts.get("origins", {}), **changed}
        created.write_meta({**facts, "seed": member.seed, "origins": origins})
        created.write_config(to_yaml(own))
        last = _last_row(stored.meta, member)
        until = stored.meta["log_offsets"]
        offsets = {
            "metrics": _copy(
                run.metrics_jsonl, until["metrics"], created.metrics_jsonl, member
            ),
            "eval": _copy(run.eval_jsonl, until["eval"], created.eval_jsonl, member),
            "timing": 0,
        }

        # metadata of its checkpoint. On the device, a single run is another program
        # with other rounding: its resume is `state-exact`.
        on_host = not own.env.on_device
        program = {} if on_host else {"members": len(several)}
        meta = {
            **stored.meta,
            "run": name,
            "config": to_mapping(own),
            "iteration": last["iteration"],
            "steps": last["steps"],
            "best": None,
            "skipped": stored.meta["members"]["skipped"].get(str(member.index), 0),
            "last_row": last if last["iteration"] else {},
            "members": None,
            "accelerator": {**stored.meta["accelerator"], **program},
            "log_offsets": offsets,
        }

        # its part of the arrays, as a committed checkpoint
        groups = _of_member(stored.groups, member, on_host, str(stored.path))
        checkpoint.save(
            created.checkpoints, checkpoint.name_of(last["iteration"]), groups, meta
        )
    return created


def _of_member(groups: Stored, member: Member, on_host: bool, where: str) -> Groups:
    """The part of a member of all groups."""
    return {
        group: arrays_of_member(arrays, member.index)
        if on_host and group == "env"
        else {name: of_member(x, member, where) for name, x in arrays.items()}
        for group, arrays in groups.items()
    }


def _without_label(row: Mapping[str, Any], member: Member) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in member.label}


def _last_row(meta: Mapping[str, Any], member: Member) -> dict[str, Any]:
    """The newest row of metrics of a member, or zeros before the first."""
    for row in meta["members"]["last_rows"]:
        if row["member"] == member.index:
            return _without_label(row, member)
    return {"iteration": 0, "steps": 0}


def _copy(source: Path, until: int, target: Path, member: Member) -> int:
    """Copies the rows of a member in the first `until` bytes; returns their size."""
    writer = JsonlWriter(target)
    for line in source.read_bytes()[:until].splitlines():
        row = json.loads(line)
        if row["member"] == member.index:
            writer.write(_without_label(row, member))
    writer.sync()
    offset = writer.offset()
    writer.close()
    return offset
