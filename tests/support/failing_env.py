"""One bad environment: what can go wrong in a step, by name."""

import os
import signal
import sys
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class UnpicklableError(Exception):
    """Cannot be pickled, nor shown."""

    def __init__(self) -> None:
        super().__init__("wheel")
        self.hook = lambda: None

    def __str__(self) -> str:
        raise RuntimeError("no words")


class SimulatorError(BaseException):
    """The errors of some simulators are no `Exception`."""


def crash() -> None:
    import ctypes

    ctypes.string_at(0)


def deadlock() -> None:
    """Waits for ever, in native code that no signal interrupts."""
    import ctypes

    mutex, libc = ctypes.create_string_buffer(64), ctypes.CDLL(None)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


def stop_with(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def fail(fault: str) -> None:
    match fault:
        case "raise":
            raise KeyError("wheel")
        case "unpicklable":
            raise UnpicklableError
        case "exit":
            sys.exit(7)
        case "base":
            raise SimulatorError("the simulator died")
        case "generator_exit":
            raise GeneratorExit
        case "assert":
            raise AssertionError
        case "deadlock":
            deadlock()
        case "os_exit":
            os._exit(7)
        case "segfault":
            crash()
        case "kill":
            stop_with(signal.SIGKILL)
        case "stop":
            stop_with(signal.SIGSTOP)
        case "sleep":
            time.sleep(60)


FORMS: dict[str, Any] = {
    "shape": np.zeros(1, np.float32),  # would fill a row without a word
    "dtype": np.zeros(2, np.float64),
    "kind": np.zeros(2, np.complex64),
    "list": [0.0, 1.0, 2.0],
    "nan": np.full(2, np.nan, np.float32),
}


class Bad(gymnasium.Env[np.ndarray, Any]):
    """Counts; misbehaves in its step number `at` where it was seeded with `seed`."""

    def __init__(self, fault: str = "", at: int = 2, seed: int = 0) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self._fault, self._at, self._bad = fault, at, seed
        self._steps = 0
        if fault == "make":
            raise ValueError("no wheels")
        if fault == "make_deadlock":
            deadlock()

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self._own = seed
        if self._fault == "reset":
            self._misbehave()
        return self._obs(), {}

    def _obs(self) -> Any:
        return np.array([self._own, self._steps], np.float32)

    def _misbehave(self) -> None:
        if self._own == self._bad:
            fail("raise" if self._fault == "reset" else self._fault)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        sys.stdout.write("noise\n")
        if self._steps == self._at:
            self._misbehave()
        self._steps += 1
        obs = self._obs()
        if self._steps > self._at and self._own == self._bad:
            obs = FORMS.get(self._fault, obs)
        return obs, 1.0, False, False, {}
