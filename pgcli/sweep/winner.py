"""The best trial of a sweep, trained again on fresh seeds."""

import dataclasses
from collections.abc import Mapping
from statistics import median
from typing import Any

from pgcli.config.load import Resolved
from pgcli.errors import UsageError
from pgcli.sweep.directory import SweepDirectory
from pgcli.sweep.plan import Plan, name_of
from pgcli.sweep.results import best_of, scored
from pgcli.training.reporter import Reporter
from pgcli.training.run import train


def fresh(plan: Plan, labels: Mapping[str, Any], seeds: range) -> Resolved:
    """The configuration of a trial on other seeds; a UsageError if some were used."""
    resolved = plan.resolve(labels)
    config = resolved.config
    used = range(config.seed, config.seed + config.seeds)
    if set(used) & set(seeds):
        raise UsageError(
            f"the sweep has used the seeds {used.start} to {used.stop - 1}",
            help=f"fresh ones, such as --seeds {used.stop + 100}:{used.stop + 110}",
        )
    changed = config.with_values({"seed": seeds.start, "seeds": len(seeds)})
    return dataclasses.replace(resolved, config=changed)


def train_again(
    directory: SweepDirectory,
    plan: Plan,
    row: Mapping[str, Any],
    seeds: range,
    reporter: Reporter,
) -> dict[str, Any]:
    """The result of the trial of a row on fresh seeds; continues an earlier start."""
    labels = directory.read_record(row["trial"])["labels"]
    return train(
        fresh(plan, labels, seeds),
        runs_dir=directory.path / "fresh",
        name=f"{name_of(row['trial'])}-seeds-{seeds.start}-{seeds.stop - 1}",
        resume="auto",
        reporter=reporter,
    )


def selection(results: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """How much of the lead of the best trial was selection.

    The best of many noisy scores is too high by itself. Its lead over the median trial,
    whose score is hardly selected, is compared with that on fresh seeds.
    """
    best, again = best_of(results), scored(result)
    scores = [row["score"] for row in results["trials"] if row["score"] is not None]
    middle, score = median(scores), again.get("score")
    lead = best["score"] - middle
    lost = None if score is None or lead <= 0 else (best["score"] - score) / lead
    return {
        "promised": best["score"],
        "promised_ci": best["ci"],
        "fresh": score,
        "fresh_ci": again.get("ci"),
        "fresh_scores": again["scores"],
        "median_trial": middle,
        "share_of_lead": None if lost is None else min(max(lost, 0.0), 1.0),
    }
