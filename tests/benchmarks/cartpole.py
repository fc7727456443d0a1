"""Rates of the main path on CartPole: end to end, collection alone, update alone.

    python tests/benchmarks/cartpole.py [--seconds 3] [--repeats 3]

Steps per second, the best of the repeats, after warm-up. Each row runs in a process of
its own, since thread settings hold for a process.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

SMALL = {"env.num_envs": 8, "rollout.num_steps": 32, "algo.num_epochs": 20}
LARGE = {"env.num_envs": 64, "rollout.num_steps": 128, "algo.num_epochs": 4}
ROWS: dict[str, dict[str, Any]] = {
    "host 8 x 32, 20 epochs x 1": {"env.id": "CartPole-v1", **SMALL},
    "host native 64 x 128, 4 epochs x 4": {
        "env.id": "CartPole-v1",
        "env.vectorizer": "native",
        "algo.num_minibatches": 4,
        **LARGE,
    },
    "device 8 x 32, 20 epochs x 1": {"env.id": "func:CartPole-v1", **SMALL},
    "device 64 x 128, 4 epochs x 4": {
        "env.id": "func:CartPole-v1",
        "algo.num_minibatches": 4,
        **LARGE,
    },
}


def rate(run: Callable[[], int], seconds: float, repeats: int) -> float:
    """The best of several stretches; `run` returns its steps."""
    run()
    best = 0.0
    for _ in range(repeats):
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            steps += run()
        best = max(best, steps / (time.perf_counter() - start))
    return best


def measure(settings: dict[str, Any], seconds: float, repeats: int) -> dict[str, float]:
    """The three rates of one configuration."""
    import contextlib

    import jax

    from pgcli.config.load import resolve

    sets = [f"{key}={value}" for key, value in settings.items()]
    config = resolve(file=None, flags={}, sets=[*sets, "steps=1_000_000_000"]).config
    from pgcli.envs.registry import on_device
    from pgcli.train import parallel

    mesh = parallel.start(config).mesh
    size = config.env.num_envs * config.rollout.num_steps
    if on_device(config.env.id):
        with jax.set_mesh(mesh) if mesh else contextlib.nullcontext():
            return _rates(_device(config, mesh), size, seconds, repeats)
    return _rates(_host(config), size, seconds, repeats)


def _rates(
    parts: tuple[Callable[[], Any], ...], size: int, seconds: float, repeats: int
) -> dict[str, float]:
    whole, collection, update = parts

    def once(part: Callable[[], Any]) -> Callable[[], int]:
        def run() -> int:
            part()
            return size

        return run

    return {
        "end to end": rate(whole, seconds, repeats),
        "collection": rate(once(collection), seconds, repeats),
        "update": rate(once(update), seconds, repeats),
    }


def _device(config: Any, mesh: Any) -> tuple[Callable[[], Any], ...]:
    import jax

    from pgcli.envs.registry import make_device_env
    from pgcli.rollout.device import collect
    from pgcli.train.device_loop import DeviceLoop
    from pgcli.train.step import learn

    env = make_device_env(config.env)
    loop = DeviceLoop(config, env, mesh=mesh)
    setup, state, key = loop.setup, loop._state, jax.random.key(0)
    gather = jax.jit(
        lambda agent, env_state: collect(
            env, setup.policy, agent, env_state, key, setup.num_steps
        )
    )
    fit = jax.jit(partial(learn, setup))
    agent = jax.tree.map(lambda x: x.copy(), state.run.learner.agent)
    env_state = jax.tree.map(lambda x: x.copy(), state.env)
    run = jax.tree.map(lambda x: x.copy(), state.run)
    _, transitions = gather(agent, env_state)

    def whole() -> int:
        before = loop.steps
        loop.advance(10**15, 0.5)
        return loop.steps - before

    return (
        whole,
        lambda: jax.block_until_ready(gather(agent, env_state)),
        lambda: jax.block_until_ready(
            fit(loop._knobs, run, transitions, loop._budget, key)
        ),
    )


def _host(config: Any) -> tuple[Callable[[], Any], ...]:
    import jax

    from pgcli.rollout.host import HostCollector
    from pgcli.train.host_loop import HostLoop
    from pgcli.train.step import learn

    loop = HostLoop(config)
    collector = HostCollector(
        loop._make_env(1), loop.setup.policy, loop.setup.num_steps
    )
    agent = jax.tree.map(lambda x: x.copy(), loop.agent())
    run = jax.tree.map(lambda x: x.copy(), loop._state)
    key = jax.random.key(0)
    fit = jax.jit(partial(learn, loop.setup))
    transitions = jax.device_get(collector.collect(agent, key))

    def whole() -> int:
        before = loop.steps
        loop.advance(10**15, 0.5)
        return loop.steps - before

    return (
        whole,
        lambda: collector.collect(agent, key),
        lambda: jax.block_until_ready(
            fit(loop._knobs, run, transitions, loop._budget, key)
        ),
    )


def main() -> None:
    """Parses the command line, measures each row in its own process, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="of one stretch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        rates = measure(ROWS[options.row], options.seconds, options.repeats)
        print(json.dumps(rates))
        return
    print(f"{'steps per second':36} end to end  collection      update")
    for row in ROWS:
        command = [sys.executable, str(Path(__file__)), "--row", row]
        command += ["--seconds", str(options.seconds)]
        command += ["--repeats", str(options.repeats)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        rates = json.loads(done.stdout.splitlines()[-1])
        print(f"{row:36}" + "".join(f"{rates[key]:12,.0f}" for key in rates))


if __name__ == "__main__":
    main()
