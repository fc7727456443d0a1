"""Warnings about training that is going wrong, with remedies."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Symptom:
    """A problem that the metrics show for several iterations in a row.

    Attributes:
      metric: metric that shows it.
      wrong: whether an iteration shows it, by the value of the metric, all metrics, and
        the first entropy and return.
      iterations: number of iterations in a row; fewer are noise.
      advice: meaning and remedy; `{value}` is the last value.
    """

    metric: str
    wrong: Callable[[float, Metrics, Metrics], bool]
    iterations: int
    advice: str


def _critic_fails(value: float, metrics: Metrics, first: Metrics) -> bool:
    """Whether the explained variance is below −0.1 and the error is not negligible.

    A solved task has constant returns, so that even a tiny error gives a negative
    explained variance. The loss ½(V − R̂)² must exceed that of an error of 1 % of the
    return.
    """
    if value >= -0.1:
        return False
    negligible = 0.5 * (0.01 * (metrics.get("return_mean") or 0.0)) ** 2
    return (metrics.get("value_loss") or 0.0) > negligible


def _entropy_collapsed(value: float, metrics: Metrics, first: Metrics) -> bool:
    """Whether the policy is nearly deterministic, and no better than at the start.

    The entropy of discrete actions has lost 99 % of its first value. That of
    continuous ones has lost log 100 for each of about H₀ / 1.42 actions: 1.42 is the
    entropy of a normal distribution with standard deviation 1.
    """
    before = first["entropy"] or 0.0
    density = value < before - math.log(100) * max(1.0, before / 1.42)
    if not (0 <= value < 0.01 * before or density):
        return False
    now, start = metrics.get("return_mean"), first.get("return_mean")
    return now is None or start is None or now <= start


SYMPTOMS = (
    Symptom(
        "kl",
        lambda value, *_: value > 0.2,
        10,
        "the policy changes too much in every update (KL {value:.2g}): "
        "lower optimizer.lr or the number of gradient steps",
    ),
    Symptom(
        "ess",
        lambda value, *_: value < 0.1,
        10,
        "few samples dominate every update (effective sample size {value:.2g} of the "
        "batch): lower optimizer.lr or algo.num_epochs",
    ),
    Symptom(
        "explained_variance",
        _critic_fails,
        20,
        "the critic is worse than a constant (explained variance {value:.2g}): "
        "try --set normalize.reward=true, or another optimizer.lr",
    ),
    Symptom(
        "entropy",
        _entropy_collapsed,
        20,
        "the policy became nearly deterministic (entropy {value:.2g}) before it "
        "improved: raise algo.entropy_coef, or lower optimizer.lr",
    ),
)


class Advisor:
    """Checks the metrics of a run; gives each piece of advice once."""

    def __init__(self) -> None:
        self._first: dict[object, dict[str, float | None]] = {}
        self._streaks: Counter[tuple[object, str]] = Counter()
        self._pending = list(SYMPTOMS)  # those without advice so far

    def advise(self, metrics: Metrics) -> Iterator[str]:
        """Advice after an iteration of the run, or of one of its members."""
        member = metrics.get("member")
        first = self._first.setdefault(member, {})
        # the first values of a member, for comparison
        if len(first) < 2:
            for key in ("entropy", "return_mean"):
                if metrics.get(key) is not None:
                    first.setdefault(key, metrics[key])
        for symptom in self._pending:
            value = metrics.get(symptom.metric)
            if value is None or not symptom.wrong(value, metrics, first):
                if self._streaks:
                    self._streaks.pop((member, symptom.metric), None)
                continue
            self._streaks[member, symptom.metric] += 1
            if self._streaks[member, symptom.metric] == symptom.iterations:
                self._pending = [each for each in self._pending if each != symptom]
                which = "" if member is None else f"seed {metrics.get('seed')}: "
                yield which + symptom.advice.format(value=value)
