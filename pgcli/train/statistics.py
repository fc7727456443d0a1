"""Statistics of returns."""

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
