"""Evaluation on the device: a fixed quota of episodes per environment."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pgcli.arrays import compensated_sum
from pgcli.arrays.shapes import Array, Key
from pgcli.arrays.shared import shared
from pgcli.envs.base import DeviceEnv, EnvSpec, ObsSpace
from pgcli.nn.policy import Agent, Policy, act
from pgcli.rollout.device_collector import (
    DeviceEnvState,
    begin,
    env_keys,
    step_and_reset,
)
from pgcli.training.evaluation.device_bounds import (
    Seen,
    farthest,
    look,
    nothing_seen,
    strays,
)
from pgcli.training.evaluation.episodes import Episodes, not_finite
from pgcli.training.loops.chunk_size import Pace
from pgcli.training.rollout_faults import any_bad, bad_parts, fields, leaves_of
from pgcli.training.stop_signals import EvaluationStopped, never

CALL_SECONDS = 0.5
"""Target duration of a call; progress is reported between two calls."""

_FOREVER = 2**32 - 1
_HASH = np.uint32(2654435761)


class Played(NamedTuple):
    """One episode in each of E environments; for M members, every array is [M, E]."""

    returns: Any
    lengths: Any
    first: Any
    """Hash of the first observation."""
    fault: Any
    """Field whose value ended the episode (`_faults`), else −1."""
    outside: Any
    """Observations outside of their bounds, as from `bounds.outside`: [P, 4, E]."""


class Playing(NamedTuple):
    """One unfinished or finished episode in each of E environments."""

    now: DeviceEnvState
    total: tuple[Array, Array]
    """Returns so far, and what rounding has left out of them."""
    lengths: Array
    over: Array
    fault: Array
    seen: Seen
    first: Array
    steps: Array
    """Number of steps of the evaluation so far."""


def evaluate_on_device(
    env: DeviceEnv,
    policy: Policy,
    episodes: int,
    deterministic: bool,
    agent: Agent,
    key: Key[Array, ""],
) -> Played:
    """Unscaled returns and lengths of one episode in each of E environments.

    Every environment plays exactly one episode of any length: stopping at a number of
    steps would favour short episodes. The agent's statistics stay frozen. Consumes the
    key.
    """
    playing = begin_episodes(env, policy, episodes, key)
    until = jnp.uint32(_FOREVER)
    playing = play_on(env, policy, deterministic, agent, key, playing, until)
    return result(env.spec.obs, playing)


def begin_episodes(
    env: DeviceEnv, policy: Policy, episodes: int, key: Key[Array, ""]
) -> Playing:
    """E environments after a reset; `key` is that of the whole evaluation."""
    begin_key, _ = jax.random.split(key)
    first = begin(env, policy, begin_key, episodes)
    zero, none = jnp.zeros(episodes), jnp.zeros(episodes, bool)
    # an episode is over at once if its first observation cannot be used
    fault = _faults(env.spec.obs, zero, zero, first.obs, none)
    return Playing(
        now=first,
        total=(zero, zero),
        lengths=jnp.zeros(episodes, jnp.int32),
        over=fault >= 0,
        fault=fault,
        seen=nothing_seen(env.spec.obs, episodes),
        first=_hashes(first.obs),
        steps=jnp.uint32(0),
    )


def play_on(
    env: DeviceEnv,
    policy: Policy,
    deterministic: bool,
    agent: Agent,
    key: Key[Array, ""],
    playing: Playing,
    until: Array,
) -> Playing:
    """The episodes after `until` steps, or when all are over.

    The division of an evaluation into calls does not affect its result; `key` is that
    of the whole evaluation.
    """
    _, run_key = jax.random.split(key)

    def unfinished(playing: Playing) -> Array:
        return ~jnp.all(playing.over) & (playing.steps < until)

    def step(playing: Playing) -> Playing:
        # act: π(·|s) for E observations, its mode or a sample
        now, over = playing.now, playing.over
        step_key, noise_key = jax.random.split(
            jax.random.fold_in(run_key, playing.steps)
        )
        memory, dist = act(policy, agent, now.carry, now.obs, now.start)
        if deterministic:
            action = dist.mode()
        else:
            keys = env_keys(noise_key, len(over))
            noise = jax.vmap(lambda key: dist.noise(key, ()))(keys)
            action = dist.sample(noise)
        # step, and add up rewards until the first end of an episode
        state, obs, outcome = step_and_reset(
            env, step_key, now.state, policy.squash(action)
        )
        done = outcome.terminated | outcome.truncated
        reward = jnp.where(over, 0.0, outcome.reward)
        total = compensated_sum.add(*playing.total, reward)
        lengths = playing.lengths + (~over).astype(jnp.int32)
        # a value that is not finite ends an episode; after a termination, the
        # observation is not used
        found = _faults(
            env.spec.obs, action, outcome.reward, outcome.obs, outcome.terminated
        )
        fault = jnp.where(over, playing.fault, found)
        return Playing(
            DeviceEnvState(state, obs, done, memory),
            total,
            lengths,
            over | done | (fault >= 0),
            fault,
            look(env.spec.obs, playing.seen, now.obs, over),
            playing.first,
            playing.steps + 1,
        )

    after: Playing = jax.lax.while_loop(unfinished, step, playing)
    return after


def result(space: ObsSpace, playing: Playing) -> Played:
    """The results of episodes that are over, with observations of a space."""
    total, lengths = playing.total[0] + playing.total[1], playing.lengths
    outside = farthest(space, playing.seen, lengths)
    return Played(total, lengths, playing.first, playing.fault, outside)


class DeviceEvaluator:
    """A player of whole episodes that reports in intervals of `CALL_SECONDS`."""

    outside: np.ndarray | None = None

    def __init__(
        self, env: DeviceEnv, policy: Policy, episodes: int, deterministic: bool
    ) -> None:
        """Compiles nothing yet. Arguments as of `evaluate_on_device`."""
        self.spec = env.spec
        self._blank = partial(_blank, partial(begin_episodes, env, policy, episodes))
        self._advance, self._result = shared(
            _jit_player, env, policy, episodes, deterministic
        )

    def play(
        self,
        agent: Agent,
        key: Key[Array, ""],
        seed: int,
        stop: Callable[[int], bool] = never,
    ) -> Episodes:
        """See `HostEvaluator.play`; `seed` is the seed of `key` in errors."""
        playing, pace, steps, done = self._blank(key), Pace(), 0, 0
        while done < len(playing.over):
            if stop(done):
                raise EvaluationStopped
            until = np.uint32(min(steps + pace.begin(CALL_SECONDS), _FOREVER))
            playing, over = self._advance(agent, key, playing, until)
            before, steps, done = steps, int(playing.steps), int(over)
            pace.end(steps - before)
        played = jax.device_get(self._result(playing))
        self.outside = strays(played.outside, played.lengths)
        return checked(played, self.spec, seed)


def _jit_player(
    env: DeviceEnv, policy: Policy, episodes: int, deterministic: bool
) -> tuple[Callable[..., tuple[Playing, Array]], Callable[[Playing], Played]]:
    """(function that plays on, `result`), jitted."""
    begin = partial(begin_episodes, env, policy, episodes)

    # resets and steps are one program, which compiles faster than two
    def advance(
        agent: Agent, key: Array, playing: Playing, until: Array
    ) -> tuple[Playing, Array]:
        playing = jax.lax.cond(
            playing.steps == 0, lambda: strong(begin(key)), lambda: playing
        )
        playing = play_on(env, policy, deterministic, agent, key, playing, until)
        return playing, jnp.sum(playing.over)

    return jax.jit(advance), jax.jit(partial(result, env.spec.obs))


def _blank(begin: Callable[[Array], Playing], key: Array) -> Playing:
    """Zeros with the shapes and dtypes of episodes that have begun."""

    def zeros(x: Any) -> Any:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jnp.broadcast_to(key, x.shape)
        return np.zeros(x.shape, x.dtype)

    blank: Playing = jax.tree.map(zeros, jax.eval_shape(begin, key))
    return blank


def strong(tree: Any) -> Any:
    """A tree without the weak types of Python scalars."""
    return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), tree)


def _faults(
    space: ObsSpace, action: Any, reward: Array, obs: Any, ended: Array
) -> Array:
    """Index of the first field with a value that cannot be used, for each row: [E].

    It is −1 without one, else an index of `fields`. Values are not finite, or no
    category of their space. The observation is ignored where the episode has ended.
    """
    parts = (bad_parts(part, x, 1) for part, x in leaves_of(space, obs))
    numbers = [any_bad(x, 1) for x in (action, reward)]
    rows = jnp.stack([*numbers, *(bad & ~ended for bad in parts)])
    first = jnp.argmax(rows, axis=0).astype(jnp.int32)
    faults: Array = jnp.where(rows.any(axis=0), first, -1)
    return faults


def _hashes(obs: Any) -> Array:
    """Hash of each row of an observation: [E], uint32."""
    total: Array = jnp.uint32(0)
    for leaf in jax.tree.leaves(obs):
        flat = leaf.reshape(leaf.shape[0], -1)
        if jnp.issubdtype(flat.dtype, jnp.floating):
            flat = jax.lax.bitcast_convert_type(flat.astype(jnp.float32), jnp.uint32)
        # odd weights lose no bits modulo 2³², and differ by position
        weights = (2 * jnp.arange(flat.shape[1], dtype=jnp.uint32) + 1) * _HASH
        part = jnp.sum(
            flat.astype(jnp.uint32) * weights[None], axis=1, dtype=jnp.uint32
        )
        total = total * jnp.uint32(31) + part
    return total


def in_waves(
    play: Callable[[int], Played], episodes: int, size: int, stop: Callable[[int], bool]
) -> Played:
    """Episodes by one program for any number of them, as NumPy arrays.

    `play` has the number of the wave, each of `size` episodes, as its argument.
    """
    parts = []
    for wave in range(-(-episodes // size)):
        if stop(wave * size):
            raise EvaluationStopped
        parts.append(play(wave))
    # along the axis of episodes; the last wave may have too many
    joined = (np.concatenate(x, axis=-1) for x in zip(*parts, strict=True))
    return Played(*(x[..., :episodes] for x in joined))


def checked(played: Played, spec: EnvSpec, seed: int) -> Episodes:
    """The episodes, if all values in them were finite.

    Raises:
      EnvironmentFailed: a reward or an observation was not finite.
      DivergedError: an action was not finite.
    """
    faulty = np.flatnonzero(played.fault >= 0)
    if faulty.size:
        n = int(faulty[0])
        field, problem = fields(spec.obs)[played.fault[n]]
        where = f"environment {spec.id}, seed {seed}"
        raise not_finite(field, n, int(played.lengths[n]) - 1, where, problem)
    count = len(played.returns)
    return Episodes(*played[:3], np.full(count, np.nan), np.arange(count))
