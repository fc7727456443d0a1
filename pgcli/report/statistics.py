"""Statistics over seeds: interquartile mean, stratified bootstrap.

As Agarwal et al. (2021, arXiv 2108.13264) recommend for few runs: the interquartile
mean, which neither one lucky nor one failed seed can move far, with an interval from
resampling seeds.
"""

from typing import Any

import numpy as np

from pgcli.train.statistics import bootstrap_interval, mean

CURVE_RESAMPLES = 2_000


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


def difference_interval(
    lower: np.ndarray, upper: np.ndarray, confidence: float = 0.95
) -> tuple[float, float]:
    """Bootstrap interval of mean(upper) − mean(lower); each is resampled on its own."""

    def difference(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
        return np.asarray(mean(upper) - mean(lower))

    return bootstrap_interval(lower, upper, statistic=difference, confidence=confidence)


def iqm_band(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(IQM, low, high) of curves [seeds, grid] at each point, the ends 95 % bootstrap.

    Whole curves are resampled, and the interval holds at each point, not for the whole.
    """
    count = len(curves)
    draws = np.random.default_rng(0).integers(0, count, (CURVE_RESAMPLES, count))
    ends = [np.quantile(iqm(x[draws]), [0.025, 0.975]) for x in curves.T]
    low, high = np.array(ends).T
    return iqm(curves.T), low, high


def _pooled_mean(*strata: np.ndarray) -> np.ndarray:
    return mean(np.concatenate(strata, axis=-1))
