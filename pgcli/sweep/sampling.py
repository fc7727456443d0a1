"""Values of trials from Optuna's samplers, and its pruners."""

from typing import TYPE_CHECKING, Any

from pgcli.sweep.plan import Plan
from pgcli.sweep.space import Dimension, Label, Labels, Space

if TYPE_CHECKING:
    from optuna import Trial

WARMUP_EVALUATIONS = 2
"""Evaluations of a trial that the median pruner always waits for."""


def distribution(dimension: Dimension) -> Any:
    """The distribution of a dimension in Optuna."""
    from optuna import distributions

    if dimension.kind == "choice":
        return distributions.CategoricalDistribution(dimension.labels)
    if dimension.kind == "integers":
        return distributions.IntDistribution(*dimension.values)
    log = dimension.kind == "log_uniform"
    low, high = dimension.values
    return distributions.FloatDistribution(low, high, log=log)


def labels_of(trial: "Trial", dimensions: Space) -> Labels:
    """Labels of a trial, suggested by the sampler where the trial has none yet."""
    labels: dict[str, Label] = {}
    for dimension in dimensions:
        chosen = labels[dimension.name] = _suggest(trial, dimension)
        labels |= labels_of(trial, dimension.branch(chosen))
    return labels


def _suggest(trial: "Trial", dimension: Dimension) -> Label:
    name = dimension.name
    chosen: Label = None
    if dimension.kind == "choice":
        chosen = trial.suggest_categorical(name, dimension.labels)
    elif dimension.kind == "integers":
        chosen = trial.suggest_int(name, *dimension.values)
    else:
        log = dimension.kind == "log_uniform"
        chosen = trial.suggest_float(name, *dimension.values, log=log)
    return chosen


def make_sampler(plan: Plan, number: int) -> Any:
    """The sampler for one trial; its random numbers depend on the trial's number."""
    from optuna import samplers

    seed = (plan.first.seed * 1_000_003 + number) % 2**32
    match plan.file.sampler:
        case "tpe":
            return samplers.TPESampler(
                seed=seed, multivariate=True, group=True, constant_liar=True
            )
        case "gp":
            return samplers.GPSampler(seed=seed)
        case "cmaes":
            return samplers.CmaEsSampler(seed=seed)
    uniform = samplers.RandomSampler(seed=seed)
    return samplers.PartialFixedSampler(dict(plan.labels(number)), uniform)


def make_pruner(plan: Plan) -> Any:
    """The pruner; it compares trials after equally many evaluations."""
    from optuna import pruners

    config = plan.first
    match plan.file.pruner:
        case "median":
            return pruners.MedianPruner(n_warmup_steps=WARMUP_EVALUATIONS + 1)
        case "hyperband":
            evaluations = max(2, config.steps // max(1, config.eval.every or 1))
            return pruners.HyperbandPruner(max_resource=evaluations)
    return pruners.NopPruner()
