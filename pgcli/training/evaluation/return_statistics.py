"""Statistics of returns: over episodes, and over seeds.

Over seeds as Agarwal et al. (2021, arXiv 2108.13264) recommend for few runs: the
interquartile mean, which neither one lucky nor one failed seed can move far, with an
interval from resampling seeds.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

RESAMPLES = 10_000


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

    Every stratum is resampled on its own, with replacement, to its own size. Strata of
    one value each have no spread to resample: both ends are the statistic.

    Args:
      *strata: independent samples [n_k].
      statistic: of samples [R, n_k], one argument per stratum, giving [R].
      confidence: share of the resampled statistics between the two ends.
      resamples: how many.
    """
    generator = np.random.default_rng(0)
    drawn = [
        values[generator.integers(0, len(values), (resamples, len(values)))]
        for values in strata
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(statistic(*drawn), [tail, 1 - tail])
    return float(low), float(high)


def summarize(returns: np.ndarray, lengths: np.ndarray) -> dict[str, Any]:
    """Mean, interval and spread of the returns of some episodes, raw."""
    return {
        "episodes": len(returns),
        "return_mean": float(returns.mean()),
        "return_ci": list(bootstrap_interval(returns)),
        "return_std": float(returns.std(ddof=1)) if len(returns) > 1 else 0.0,
        "return_median": float(np.median(returns)),
        "return_min": float(returns.min()),
        "return_max": float(returns.max()),
        "length_mean": float(lengths.mean()),
    }


def iqm_weights(count: int) -> np.ndarray:
    """The weights of the order statistics in the interquartile mean, summing to 1.

    A quarter of the mass goes at each end. Where `count` is no multiple of 4, the
    values at the cut count for the part of them that is inside: of 10 values 2.5 go at
    each end, so that the third and the eighth count half.
    """
    edges, cut = np.arange(count + 1), count / 4
    inside = np.minimum(edges[1:], count - cut) - np.maximum(edges[:-1], cut)
    return np.asarray(np.clip(inside, 0, None) / (count / 2))


def iqm(values: np.ndarray) -> np.ndarray:
    """Interquartile mean over the last axis: the mean of the middle half."""
    weights = iqm_weights(values.shape[-1])
    return np.asarray(np.sort(values, axis=-1) @ weights)


def pooled_iqm(*strata: np.ndarray) -> np.ndarray:
    """Interquartile mean of several samples together, over the last axis."""
    return iqm(np.concatenate(strata, axis=-1))


def summary(*strata: np.ndarray) -> dict[str, Any]:
    """IQM, mean and worst of scores, the first two with 95 % intervals.

    Args:
      *strata: the scores of each environment, one per seed. Seeds are resampled within
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
    """What members side by side reach together: statistics over their mean returns.

    Args:
      scores: mean return of each [M].
      episodes: how many each played.
      lengths: mean length of each [M].
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
