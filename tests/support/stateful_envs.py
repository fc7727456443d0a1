"""Environments that keep their state in every way that one can."""

import collections
import enum
import hashlib
import itertools
import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv

from pgcli.config.schema import EnvConfig
from pgcli.envs.base import Discrete, HostEnv, HostSlot
from pgcli.envs.make import make_host_env
from pgcli.envs.state.state_arrays import unpack


class Mood(enum.Enum):
    CALM = 0
    WILD = 1


class Mean:
    """A helper object with state of its own."""

    def __init__(self) -> None:
        self.count = 0
        self.total = np.zeros(2)

    def add(self, x: np.ndarray) -> np.ndarray:
        self.count += 1
        self.total += x
        return self.total / self.count


class Walker(gymnasium.Env[np.ndarray, int]):
    """A random walk that ends at the tenth step; subclasses keep more."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.place = np.zeros(2)
        self.age = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = self.np_random.normal(size=2)
        self.age = 0
        return self.see(), {}

    def move(self, action: int) -> np.ndarray:
        """What is added to the place."""
        return self.np_random.normal(size=2) + action

    def see(self) -> np.ndarray:
        return self.place.astype(np.float32)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.place = self.place + self.move(action)
        self.age += 1
        return self.see(), float(self.place[0]), self.age == 10, False, {}


class Rich(Walker):
    """Every kind of value that has a plain form."""

    def __init__(self) -> None:
        super().__init__()
        self.past: collections.deque[np.ndarray] = collections.deque(maxlen=3)
        self.mean = Mean()
        self.mood = Mood.CALM
        self.grid = np.asfortranarray(np.arange(6.0).reshape(2, 3))
        self.names = np.array(["ab", "c"])
        self.own = np.random.Generator(np.random.MT19937(5))
        self.best = -np.inf
        self.scale = np.float32(0.1)
        self.visits: dict[Any, Any] = {(0, 1): [1, 2], "last": None}
        self.same = self.visits

    def move(self, action: int) -> np.ndarray:
        self.past.append(self.place.copy())
        self.mood = Mood.WILD if self.own.random() < 0.5 else Mood.CALM
        self.grid = np.asfortranarray(self.grid * 1.01)
        self.best = max(self.best, float(self.place[0]))
        self.scale = np.float32(self.scale * np.float32(1.1))
        self.same[0, 1].append(self.age)
        drift = self.grid.sum(axis=0)[:2] + sum(self.past) + self.visits[0, 1][-1]
        return (
            super().move(action) * self.scale + self.mean.add(drift) + self.mood.value
        )


class Opaque(Walker):
    """Keeps part of an episode where it cannot be had, and makes it anew in a reset."""

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.clock = itertools.count()
        return super().reset(**kwargs)

    def move(self, action: int) -> np.ndarray:
        return super().move(action) + next(self.clock)


class Sampling(Opaque):
    """Makes a new action space in a reset and samples from it, as highway-env."""

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.action_space = spaces.Discrete(3)
        obs, info = super().reset(**kwargs)
        return obs, {**info, "action": self.action_space.sample()}


class Endless(Opaque):
    """Keeps something over resets where it cannot be had."""

    ever = None

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        self.ever = self.ever or itertools.count()
        return super().reset(**kwargs)

    def move(self, action: int) -> np.ndarray:
        return super().move(action) + next(self.ever)


class Hidden(CartPoleEnv):  # whose spaces other tests have compiled for
    """Keeps something outside of itself, where nobody looks for it."""

    steps = 0

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        type(self).steps += 1
        obs, *rest = super().step(action)
        return obs + np.float32(1e-4 * type(self).steps), *rest


class Mortal(Walker):
    """Has three lives, and loses one at every fourth step."""

    def reset(self, **kwargs: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return super().reset(**kwargs)[0], {"lives": 3}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        *outcome, _ = super().step(action)
        return *outcome, {"lives": 3 - self.age // 4}


class Own(Walker):
    """Says itself what its state is."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = itertools.count()
        self.ticks = -1

    def move(self, action: int) -> np.ndarray:
        self.ticks = next(self.clock)
        return super().move(action) + self.ticks

    def get_state(self) -> dict[str, Any]:
        return {"place": self.place, "age": self.age, "ticks": self.ticks}

    def set_state(self, state: dict[str, Any]) -> None:
        self.place, self.age = state["place"], state["age"]
        self.ticks = state["ticks"]
        self.clock = itertools.count(self.ticks + 1)


def register() -> None:
    """Makes `pgcli/Walker-v0` and the others known."""
    for kind in (Walker, Rich, Opaque, Sampling, Endless, Hidden, Mortal, Own):
        name = kind.__name__
        if f"pgcli/{name}-v0" not in gymnasium.registry:
            # as text, which workers can be told
            gymnasium.register(
                f"pgcli/{name}-v0", entry_point=f"support.stateful_envs:{name}"
            )


def make(
    env_id: str, vectorizer: Any, count: int, seed: int = 5, workers: Any = 0
) -> HostEnv:
    seeds = list(range(seed, seed + count))
    return make_host_env(
        EnvConfig(env_id), seeds, vectorizer=vectorizer, workers=workers
    )


def begin(env: HostEnv) -> None:
    env.reset(slot_of(env).obs)


def digest_of_steps(env: HostEnv, steps: int, seed: int) -> str:
    """SHA-256 of all that the environments answer to random actions."""
    total = hashlib.sha256()
    rng = np.random.default_rng(seed)
    space, count = env.spec.action, env.num_envs
    for _ in range(steps):
        if isinstance(space, Discrete):
            action = rng.integers(0, space.n, count)
        else:
            action = rng.uniform(-1, 1, (count, *space.shape)).astype(np.float32)
        slot = slot_of(env)
        finals = env.step(action, slot)
        for array in (*slot, *(obs for _, obs in finals)):
            if array is not None:  # as bytes, None is its address in this process
                total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def slot_of(env: HostEnv, with_lives: bool = False) -> HostSlot:
    n, box = env.num_envs, env.spec.obs
    obs = (
        np.zeros(n, np.int32)
        if isinstance(box, Discrete)
        else np.zeros((n, *box.shape), box.dtype)
    )
    flags = [np.zeros(n, bool) for _ in range(3)]
    lost = np.zeros(n, bool) if with_lives else None
    return HostSlot(obs, np.zeros(n, np.float32), *flags, np.ones(n, bool), lost)


def main() -> None:
    """Restores states in a process of its own, and prints what the next steps are.

    Arguments: a file with states, the environments' id and vectorizer, steps.
    """
    path, env_id, vectorizer, steps = sys.argv[1:]
    register()
    with np.load(path) as packed:
        facts, states = unpack(dict(packed), "here")
    env = make(env_id, vectorizer, facts["count"])
    env.set_state(states)
    sys.stdout.write(digest_of_steps(env, int(steps), seed=2))
