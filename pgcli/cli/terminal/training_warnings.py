"""Warnings about training that is going wrong, with remedies."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Symptom:
    """A problem that the metrics show for several reports in a row.

    Attributes:
      metric: metric that shows it.
      wrong: whether the metrics show it; called without metrics that are None.
      reports: number of reports in a row; fewer are noise.
      advice: meaning and remedy; `{value}` is the last value.
    """

    metric: str
    wrong: Callable[[Mapping[str, float]], bool]
    reports: int
    advice: str


def _critic_fails(numbers: Mapping[str, float]) -> bool:
    """Whether the explained variance is below −0.1 and the error is not negligible.

    A solved task has constant returns, so that even a tiny error gives a negative
    explained variance. The loss ½(V − R̂)² must exceed that of an error of 1 % of the
    return.
    """
    negligible = 0.5 * (0.01 * numbers.get("return_mean", 0.0)) ** 2
    loss = numbers.get("value_loss", 0.0)
    return numbers["explained_variance"] < -0.1 and loss > negligible


SYMPTOMS = (
    Symptom(
        "kl",
        lambda numbers: numbers["kl"] > 0.2,
        10,
        "the policy changes too much in every update (KL {value:.2g}): "
        "lower optimizer.lr or the number of gradient steps",
    ),
    Symptom(
        "explained_variance",
        _critic_fails,
        20,
        "the critic is worse than a constant (explained variance {value:.2g}): "
        "try --set normalize.reward=true, or another optimizer.lr",
    ),
)


class Advisor:
    """Checks the metrics of a run; gives each piece of advice once."""

    def __init__(self) -> None:
        self._streak = {symptom.metric: 0 for symptom in SYMPTOMS}

    def advise(self, metrics: Metrics) -> Iterator[str]:
        """Advice for the user after this report."""
        numbers = {key: value for key, value in metrics.items() if value is not None}
        for symptom in SYMPTOMS:
            if symptom.metric not in numbers or not symptom.wrong(numbers):
                self._streak[symptom.metric] = 0
                continue
            self._streak[symptom.metric] += 1
            if self._streak[symptom.metric] == symptom.reports:
                yield symptom.advice.format(value=numbers[symptom.metric])
