"""Statistics of returns."""

from typing import Any

import numpy as np

RESAMPLES = 10_000


def bootstrap_interval(
    values: np.ndarray, confidence: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean (Efron, 1979), with a fixed seed.

    One value has no spread to resample: both ends are that value.
    """
    generator = np.random.default_rng(0)
    draws = generator.integers(0, len(values), (RESAMPLES, len(values)))
    tail = (1 - confidence) / 2
    low, high = np.quantile(values[draws].mean(axis=1), [tail, 1 - tail])
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
