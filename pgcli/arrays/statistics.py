"""Statistics of returns over episodes and over seeds: means, IQM, bootstrap intervals.

Over seeds we follow Agarwal et al. (2021, arXiv 2108.13264): the interquartile mean
(IQM), which a single lucky or failed seed cannot move far, with an interval from
resampling seeds.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

RESAMPLES = 10_000
CURVE_RESAMPLES = 2_000


def mean(values: np.ndarray) -> np.ndarray:
    """The mean over the last axis."""
    return np.asarray(values.mean(axis=-1))


def bootstrap_interval(
    *strata: np.ndarray,
    statistic: Callable[..., np.ndarray] = mean,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
) -> tuple[float, float]:
    """Percentile bootstrap interval (Efron, 1979) of a statistic, with a fixed seed.

    Each stratum is resampled separately, with replacement, to its own size. If every
    stratum has one value, both ends equal the statistic.

    Args:
      *strata: independent samples [n_k].
      statistic: maps samples [R, n_k], one argument per stratum, to values [R].
      confidence: share of the resampled statistics between the two ends.
      resamples: number of resamples R.
    """
    generator = np.random.default_rng(0)
    drawn = [
        values[generator.integers(0, len(values), (resamples, len(values)))]
        for values in strata
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistic(*drawn), [tail, 1 - tail])
    return float(low), float(high)


def num_distinct(returns: np.ndarray, lengths: np.ndarray, first: np.ndarray) -> int:
    """Number of episodes that differ in first observation, length or return.

    Returns are compared to 5 digits, since equal rows of a batch may be rounded
    differently. `first` identifies the first observations.
    """
    rows = zip(returns, lengths, first, strict=True)
    return len({(f"{return_:.5g}", length, obs) for return_, length, obs in rows})


def summarize(
    returns: np.ndarray, lengths: np.ndarray, first: np.ndarray, raw: np.ndarray
) -> dict[str, Any]:
    """Mean, interval and spread of unscaled episode returns, and the mean length.

    If `n_distinct` is 1, environment and policy are deterministic: the interval then
    describes a single episode. `raw` are the returns beneath the wrappers.
    """
    return {
        "episodes": len(returns),
        "n_distinct": num_distinct(returns, lengths, first),
        "return_mean": float(returns.mean()),
        "return_ci": list(bootstrap_interval(returns)),
        "return_std": float(returns.std(ddof=1)) if len(returns) > 1 else 0.0,
        "return_median": float(np.median(returns)),
        "return_min": float(returns.min()),
        "return_max": float(returns.max()),
        "length_mean": float(lengths.mean()),
        **raw_scores(raw),
    }


def raw_scores(raw: np.ndarray) -> dict[str, Any]:
    """Mean of returns beneath the wrappers and its interval; empty if they are NaN."""
    if np.isnan(raw).any():
        return {}
    interval = list(bootstrap_interval(raw))
    return {"raw_return_mean": float(raw.mean()), "raw_return_ci": interval}


def iqm_weights(count: int) -> np.ndarray:
    """Weights of the order statistics in the interquartile mean, summing to 1.

    A quarter of the mass is cut off at each end. If `count` is not a multiple of 4, the
    values at the cuts are weighted by the part that remains: of 10 values, 2.5 are cut
    off at each end, so the third and the eighth have half the weight of the others.
    """
    edges, cut = np.arange(count + 1), count / 4
    inside = np.minimum(edges[1:], count - cut) - np.maximum(edges[:-1], cut)
    return np.asarray(np.clip(inside, 0, None) / (count / 2))


def iqm(values: np.ndarray) -> np.ndarray:
    """Interquartile mean over the last axis: the mean of the middle half."""
    weights = iqm_weights(values.shape[-1])
    return np.asarray(np.sort(values, axis=-1) @ weights)


def pooled_iqm(*strata: np.ndarray) -> np.ndarray:
    """Interquartile mean of the pooled samples, over the last axis."""
    return iqm(np.concatenate(strata, axis=-1))


def summary(*strata: np.ndarray) -> dict[str, Any]:
    """IQM and mean of scores with their 95 % intervals, and the worst score.

    Args:
      *strata: scores of each environment, one per seed. Seeds are resampled within
        their environment.
    """
    scores = np.concatenate(strata)
    return {
        "iqm": float(iqm(scores)),
        "iqm_ci": list(bootstrap_interval(*strata, statistic=pooled_iqm)),
        "mean": float(scores.mean()),
        "mean_ci": list(bootstrap_interval(*strata, statistic=_pooled_mean)),
        "worst": float(scores.min()),
    }


def _pooled_mean(*strata: np.ndarray) -> np.ndarray:
    return mean(np.concatenate(strata, axis=-1))


def over_members(scores: np.ndarray, episodes: int, lengths: Any) -> dict[str, Any]:
    """Statistics over the mean returns of the members of a run.

    Args:
      scores: mean return of each member [M].
      episodes: number of episodes per member.
      lengths: mean episode length of each member [M].
    """
    over = summary(scores)
    return {
        "runs": len(scores),
        "episodes": episodes,
        "return_mean": over["mean"],
        "return_ci": over["mean_ci"],
        "return_iqm": over["iqm"],
        "return_iqm_ci": over["iqm_ci"],
        "return_median": float(np.median(scores)),
        "return_std": float(scores.std(ddof=1)) if len(scores) > 1 else 0.0,
        "return_min": float(scores.min()),
        "return_max": float(scores.max()),
        "length_mean": float(np.mean(lengths)),
    }


class Score(NamedTuple):
    """Mean returns of a member; None if there are none.

    Attributes:
      values: its values from the grid, by key.
      eval: of an evaluation.
      train: of training.
      diverged: whether it was stopped.
    """

    values: Mapping[str, float]
    eval: float | None
    train: float | None = None
    diverged: bool = False


def over_seeds(scores: Iterable[Score]) -> list[dict[str, Any]]:
    """Statistics over the seeds of each combination of a grid's values."""
    cells: dict[tuple[Any, ...], list[Score]] = {}
    for score in scores:
        cells.setdefault(tuple(score.values.items()), []).append(score)

    def over(values: Iterable[float | None]) -> dict[str, Any] | None:
        known = [value for value in values if value is not None]
        return summary(np.array(known)) if known else None

    return [
        {
            "values": dict(values),
            "seeds": len(cell),
            "diverged": sum(score.diverged for score in cell),
            "eval": over(score.eval for score in cell),
            "train": over(score.train for score in cell),
        }
        for values, cell in cells.items()
    ]


def difference_interval(
    lower: np.ndarray, upper: np.ndarray, confidence: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of mean(upper) − mean(lower), each sample on its own."""

    def difference(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        return np.asarray(mean(upper) - mean(lower))

    return bootstrap_interval(lower, upper, statistic=difference, confidence=confidence)


def iqm_band(
    curves: np.ndarray, resamples: int = CURVE_RESAMPLES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(IQM, low, high) of curves [seeds, grid], with pointwise 95 % intervals.

    Whole curves are resampled. The interval holds at each point, not for all at once.
    """
    count = len(curves)
    draws = np.random.default_rng(0).integers(0, count, (resamples, count))
    ends = [np.quantile(iqm(x[draws]), [0.025, 0.975]) for x in curves.T]
    low, high = np.array(ends).T
    return iqm(curves.T), low, high
