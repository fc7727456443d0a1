"""Warnings about training that is going wrong, with remedies."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Metrics = Mapping[str, float | None]


Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Symptom:
    """A problem that the metrics show for several iterations in a row.

    Attributes:
      metric: metric that shows it.
      wrong: whether an iteration shows it, by its metrics and those of the first one
        that had each; called without metrics that are None.
      iterations: number of iterations in a row; fewer are noise.
      advice: meaning and remedy; `{value}` is the last value.
    """

    metric: str
    wrong: Callable[[Numbers, Numbers], bool]
    iterations: int
    advice: str


def _critic_fails(numbers: Numbers, first: Numbers) -> bool:
    """Whether the explained variance is below −0.1 and the error is not negligible.

    A solved task has constant returns, so that even a tiny error gives a negative
    explained variance. The loss ½(V − R̂)² must exceed that of an error of 1 % of the
    return.
    """
    negligible = 0.5 * (0.01 * numbers.get("return_mean", 0.0)) ** 2
    loss = numbers.get("value_loss", 0.0)
    return numbers["explained_variance"] < -0.1 and loss > negligible


def _entropy_collapsed(numbers: Numbers, first: Numbers) -> bool:
    """Whether the policy is nearly deterministic, and no better than at the start.

    The entropy of discrete actions has lost 99 % of its first value. That of
    continuous ones has lost log 100 for each of about H₀ / 1.42 actions: 1.42 is the
    entropy of a normal distribution with standard deviation 1.
    """
    now, before = numbers["entropy"], first["entropy"]
    density = now < before - math.log(100) * max(1.0, before / 1.42)
    better = numbers.get("return_mean", -math.inf) > first.get("return_mean", math.inf)
    return (0 <= now < 0.01 * before or density) and not better


SYMPTOMS = (
    Symptom(
        "kl",
        lambda numbers, _: numbers["kl"] > 0.2,
        10,
        "the policy changes too much in every update (KL {value:.2g}): "
        "lower optimizer.lr or the number of gradient steps",
    ),
    Symptom(
        "ess",
        lambda numbers, _: numbers["ess"] < 0.1,
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


USED = (*(symptom.metric for symptom in SYMPTOMS), "value_loss", "return_mean")


class Advisor:
    """Checks the metrics of a run; gives each piece of advice once."""

    def __init__(self) -> None:
        self._first: dict[object, dict[str, float]] = {}
        self._streaks: Counter[tuple[object, str]] = Counter()
        self._pending = list(SYMPTOMS)  # those without advice so far

    def advise(self, metrics: Metrics) -> Iterator[str]:
        """Advice after an iteration of the run, or of one of its members."""
        member = metrics.get("member")
        first = self._first.setdefault(member, {})
        numbers: dict[str, float] = {}
        for key in USED:
            value = metrics.get(key)
            if value is not None:
                numbers[key] = value
                first.setdefault(key, value)
        for symptom in self._pending:
            place = member, symptom.metric
            if symptom.metric not in numbers or not symptom.wrong(numbers, first):
                self._streaks[place] = 0
                continue
            self._streaks[place] += 1
            if self._streaks[place] == symptom.iterations:
                self._pending = [each for each in self._pending if each != symptom]
                which = "" if member is None else f"seed {metrics.get('seed')}: "
                yield which + symptom.advice.format(value=numbers[symptom.metric])
