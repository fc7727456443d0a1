"""Calls of environments in progress are seen from another thread."""

import time

from pgcli.envs.waiting import CALLS, Waited, Waits, watching


class Step:
    """A call."""

    def __init__(self) -> None:
        self.count = 0

    def whereabouts(self) -> str:
        return f"step {self.count}"

    def progress(self) -> object:
        return self.count


def test_call_that_does_not_answer_is_reported_less_and_less_often() -> None:
    late: list[tuple[str, float]] = []

    def note(call: Waited, seconds: float) -> None:
        late.append((call.whereabouts(), seconds))

    step = Step()
    end = time.monotonic() + 60
    with watching(note, 0.1), Waits(step):
        while len(late) < 3 and time.monotonic() < end:
            time.sleep(0.05)
    assert late[:3] == [("step 0", 0.1), ("step 0", 0.2), ("step 0", 0.4)]
    assert CALLS == {}


def test_call_that_makes_progress_is_not_reported() -> None:
    late: list[float] = []
    step = Step()
    with watching(lambda call, seconds: late.append(seconds), 2.0), Waits(step):
        for _ in range(12):
            time.sleep(0.2)
            step.count += 1
    assert late == []
