"""The time that a run still takes, evaluations included."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from pgcli.config.schema import RunConfig
from pgcli.training import timing


class Forecast:
    """Seconds to the end of a run, from its pace and from its evaluations so far."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._steps, self._pace = 0, 0.0
        self._length: float | None = None
        self._seconds_per_episode: float | None = None
        self._start, self._current = 0.0, 0  # of an evaluation that is running
        self._is_last = False

    def update(self, steps: int, pace: float, length: float | None) -> float | None:
        """Records a chunk; returns the seconds that are left.

        `pace` is of all members together; `length` is the mean of the episodes, or
        None.
        """
        self._steps, self._pace, self._length = steps, pace, length
        return self.left()

    @contextmanager
    def evaluation(self, episodes: int, is_last: bool) -> Iterator[None]:
        """Measures an evaluation, without its compilation."""
        start, compiled = time.perf_counter(), timing.compiled()
        self._start, self._current, self._is_last = start, episodes, is_last
        try:
            yield
        finally:
            self._current = 0
        seconds = time.perf_counter() - start - (timing.compiled() - compiled)
        self._seconds_per_episode = max(0.0, seconds) / episodes

    def left(self, done: int = 0) -> float | None:
        """Seconds that are left; `done` episodes of the current evaluation have ended.

        Before the first evaluation, its episodes are assumed to be as long as those of
        training, and their steps to take as long.
        """
        config = self._config
        if not self._pace:
            return None
        every, budget = config.eval.every, config.steps
        steps = budget if self._is_last else self._steps  # nothing follows the last
        each = self._seconds_per_episode
        if done:
            each = (time.perf_counter() - self._start) / done
        if each is None:
            each = (self._length or 0.0) * config.num_members / self._pace

        # episodes: the rest of the current evaluation, the periodic ones, the last
        episodes = max(0, self._current - done)
        episodes += 0 if self._is_last else config.eval.final_episodes
        if every and steps < budget:
            episodes += (budget // every - steps // every) * config.eval.episodes
        rest = max(0, budget - steps) * config.num_members
        return rest / self._pace + episodes * each
