"""Few warnings, in words, that say what to do: training that is going wrong."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

Metrics = Mapping[str, float | None]


@dataclass(frozen=True)
class Symptom:
    """Something wrong that has to last for `reports` in a row.

    Attributes:
      metric: where it shows.
      wrong: whether the metrics show it; called with numbers only.
      reports: how many reports in a row; fewer are noise.
      advice: what it means and what to do; `{value}` is the last value.
    """

    metric: str
    wrong: Callable[[Mapping[str, float]], bool]
    reports: int
    advice: str


def _critic_fails(numbers: Mapping[str, float]) -> bool:
    """Explained variance below zero, where the error is not negligible.

    A solved task has constant returns, of which a tiny error explains nothing: the loss
    ½(V − R̂)² must exceed that of an error of 1 % of the return.
    """
    negligible = 0.5 * (0.01 * numbers.get("return_mean", 0.0)) ** 2
    loss = numbers.get("value_loss", 0.0)
    return numbers["explained_variance"] < -0.1 and loss > negligible


SYMPTOMS = (
    Symptom(
        "kl",
        lambda numbers: numbers["kl"] > 0.2,
        10,
        "the policy moves far in every update (KL {value:.2g}): "
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
    """Watches the metrics of a run; each piece of advice comes once."""

    def __init__(self) -> None:
        self._streak = {symptom.metric: 0 for symptom in SYMPTOMS}

    def advise(self, metrics: Metrics) -> Iterator[str]:
        """What to tell the user after this report."""
        numbers = {key: value for key, value in metrics.items() if value is not None}
        for symptom in SYMPTOMS:
            if symptom.metric not in numbers or not symptom.wrong(numbers):
                self._streak[symptom.metric] = 0
                continue
            self._streak[symptom.metric] += 1
            if self._streak[symptom.metric] == symptom.reports:
                yield symptom.advice.format(value=numbers[symptom.metric])
