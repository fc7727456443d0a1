"""A training loop without JAX: what surrounds training can be run a thousand times."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from support.small_runs import BATCH

from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.stop_signals import EvaluationStopped, never


class Steady:
    """Learns the same way every time; evaluations return what the test wrote down.

    Attributes:
      scores: mean return of the evaluation after iteration i, at i - 1; the last one
        for all later iterations.
    """

    groups = ("agent", "run")
    optional_groups = ()
    helpers = ""
    parameters = 0
    scores: Sequence[float] = (1.0,)

    def __init__(self, config: Any, env: Any, **_: Any) -> None:
        self.spec = env.spec
        self.iteration = 0
        self.steps = 0
        self._weights = np.zeros(3, np.float32)

    def advance(
        self, until: int, seconds: float, stop: Callable[[], bool] = never
    ) -> list[dict[str, Any]]:
        self.iteration += 1
        self.steps += BATCH
        self._weights = np.cos(self._weights + self.iteration).astype(np.float32)
        return [
            {
                "iteration": self.iteration,
                "steps": self.steps,
                "return_mean": float(self._weights[0]),
                "skipped": 0,
            }
        ]

    def evaluate(
        self, episodes: int, role: str, seed: int, stop: Callable[[], bool] = never
    ) -> Episodes:
        if stop():
            raise EvaluationStopped
        score = self.scores[min(self.iteration, len(self.scores)) - 1]
        returns = np.full(episodes, score)
        index, raw = np.arange(episodes), np.full(episodes, np.nan)
        return Episodes(returns, np.full(episodes, 3), index, raw, index)

    def snapshot(self) -> dict[str, dict[str, np.ndarray]]:
        counts = {"iteration": np.array(self.iteration), "steps": np.array(self.steps)}
        return {"agent": {"weights": self._weights}, "run": counts}

    def restore(self, groups: Any, where: str) -> str:
        self._weights = groups["agent"]["weights"]
        self.iteration = int(groups["run"]["iteration"])
        self.steps = int(groups["run"]["steps"])
        return "exact"

    def news(self) -> list[str]:
        return []

    def close(self) -> None:
        pass
