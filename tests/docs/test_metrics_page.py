"""`docs/metrics.md` has every key that a run logs, and no other."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.small_runs import config, resolved

from pgcli.algos import ALGORITHMS
from pgcli.envs.make import make_device_env
from pgcli.rollout.device_collector import begin, collect
from pgcli.rollout.device_episode_collector import collect_episodes
from pgcli.training.loops.base import to_row, to_words
from pgcli.training.run import train
from pgcli.training.step import Knobs, init_run, learn, make_knobs, make_setup

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
ENV = "func:CartPole-v1"


def documented(section: str) -> set[str]:
    """The keys in the first column of a section's tables."""
    text = PAGE.read_text(encoding="utf-8")
    body = text.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", body, re.MULTILINE))


@cache
def keys_of(algo: str) -> frozenset[str]:
    """Keys of a row of metrics.jsonl, from tracing one iteration: nothing is run."""
    run = config(ENV, algo=algo)
    env = make_device_env(run.env)
    setup, knobs = make_setup(run, env.spec), make_knobs(run)

    def iteration(knobs: Knobs, key: Any) -> Any:
        state = init_run(setup, knobs, key)
        agent, policy = state.learner.agent, setup.policy
        if setup.algorithm.collects == "episodes":
            transitions = collect_episodes(
                env, policy, agent, key, setup.columns, setup.num_steps
            )
        else:
            envs = begin(env, policy, key, setup.columns)
            _, transitions = collect(env, policy, agent, envs, key, setup.num_steps)
        budget = jnp.asarray(to_words(run.steps))
        return learn(setup, knobs, state, transitions, budget, key)[1]

    shapes = jax.eval_shape(iteration, knobs, jax.random.key(0))
    report = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)
    # no fault: `to_row` raises otherwise
    report = report._replace(fault=np.array([-1, 0, 0]), finite_params=np.array(True))
    return frozenset(to_row(report, 1, env.spec))


@pytest.mark.parametrize("algo", sorted(ALGORITHMS))
def test_metrics_page_has_every_key_of_an_algorithm(algo: str) -> None:
    assert keys_of(algo) - documented("metrics.jsonl") == set()


def test_metrics_page_has_no_key_that_no_algorithm_logs() -> None:
    logged = frozenset().union(*(keys_of(algo) for algo in ALGORITHMS))
    assert documented("metrics.jsonl") - logged == set()


def test_metrics_page_names_the_algorithms_of_keys_of_one_algorithm() -> None:
    text = PAGE.read_text(encoding="utf-8")
    body = text.split("\n### One algorithm only\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| `([\w-]+)` \|", body, re.MULTILINE)
    assert rows
    for key, algo in rows:
        assert {name for name in ALGORITHMS if key in keys_of(name)} == {algo}, key


@pytest.mark.slow
def test_metrics_page_has_the_keys_of_the_other_logs_and_of_members(
    tmp_path: Path,
) -> None:
    """One run of two members and one iteration: the only thing here that trains."""
    run = resolved(ENV, "steps=32", "seeds=2", "eval.every=32")
    train(run, runs_dir=tmp_path, name="run")

    def keys(log: str) -> set[str]:
        lines = (tmp_path / "run" / log).read_text().splitlines()
        assert lines
        return set().union(*(json.loads(line) for line in lines))

    members = documented("Several runs in one")
    assert keys("metrics.jsonl") - keys_of("ppo2") == members
    assert keys("eval.jsonl") - members == documented("eval.jsonl")
    assert keys("timing.jsonl") == documented("timing.jsonl")
