"""Statistics over seeds: interquartile mean, stratified bootstrap.

As Agarwal et al. (2021, arXiv 2108.13264) recommend for few runs: the interquartile
mean, which neither one lucky nor one failed seed can move far, with an interval from
resampling seeds.
"""

import numpy as np

from pgcli.training.evaluation.return_statistics import bootstrap_interval, iqm, mean

CURVE_RESAMPLES = 2_000


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
