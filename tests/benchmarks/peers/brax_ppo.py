"""Brax' own PPO trainer: `{"env": NAME, "num_envs": N, "num_steps": T, …}`.

Further keys are arguments of `brax.training.agents.ppo.train.train`.
"""

import functools
import time

import jax
import jax.numpy as jnp
from brax import envs
from brax.training.agents.ppo import networks
from brax.training.agents.ppo import train as ppo
from serve import answer, requests, settings


def replicated(tree, devices):
    """What Brax calls to place its state, and newer JAX no longer has."""
    return jax.tree.map(lambda x: jnp.stack([x] * len(devices)), tree)


def main():
    """Trains without end; rounds are taken between its epochs."""
    given = settings()
    jax.device_put_replicated = replicated
    env = envs.get_environment(given.pop("env"), backend=given.pop("backend"))
    num_envs, num_steps = given["num_envs"], given.pop("num_steps")
    hidden, epochs = tuple(given.pop("hidden", [64, 64])), 10**4
    rounds = None
    mark = steps_before = ends = 0.0

    def progress(steps, _):
        nonlocal rounds, mark, steps_before, ends
        now = time.perf_counter()
        if rounds is None:  # the first epoch has compiled
            rounds = requests()
        elif now < ends:
            return
        else:
            answer((steps - steps_before) / (now - mark))
        seconds = next(rounds, None)
        if seconds is None:
            raise SystemExit
        mark, steps_before = time.perf_counter(), steps
        ends = mark + seconds

    factory = functools.partial(
        networks.make_ppo_networks,
        policy_hidden_layer_sizes=hidden,
        value_hidden_layer_sizes=hidden,
    )
    ppo.train(
        env,
        # about eight rollouts in an epoch
        num_timesteps=8 * num_envs * num_steps * epochs,
        num_evals=epochs,
        run_evals=False,
        episode_length=1000,
        unroll_length=num_steps,
        network_factory=factory,
        progress_fn=progress,
        **given,
    )


if __name__ == "__main__":
    main()
