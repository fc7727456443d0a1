"""What `explain` says agrees with the code: keys, metrics, numbers, width."""

import dataclasses
import json
import re
import resource
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pgcli.algos import ALGORITHMS
from pgcli.cli.explanations import EXPLANATIONS, Explanation
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS
from pgcli.config.fields import fields
from pgcli.config.load import resolve
from pgcli.envs.registry import make_device_env
from pgcli.rollout.device import begin
from pgcli.train.device_loop import DeviceState, run_chunk
from pgcli.train.loop import to_row, to_words
from pgcli.train.seeds import role_key
from pgcli.train.step import init_run, make_knobs, make_setup

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]
WORDS = {"leave_one_out"}  # with an underscore, and neither a key nor a metric

every_rung = pytest.mark.parametrize("rung", EXPLANATIONS.values(), ids=EXPLANATIONS)


@cache
def emitted(algo: str) -> set[str]:
    """The keys of a row of metrics.jsonl.

    One iteration is traced and not compiled: which metrics there are is structure.
    """
    sets = ["env.num_envs=8", "network.hidden=[4]"]
    if ALGORITHM_CONFIGS[algo].collects == "steps":
        sets.append("rollout.num_steps=8")
    flags = {"algo.name": (algo, "--algo"), "env.id": ("func:CartPole-v1", "--env")}
    config = resolve(file=None, flags=flags, sets=sets, use_preset=False).config
    env = make_device_env(config.env)
    setup = make_setup(config, env.spec)

    def iteration(knobs: Any, key: Any, one: Any) -> Any:
        run = init_run(setup, knobs, key)
        steps = setup.algorithm.collects == "steps"
        envs = begin(env, setup.policy, key, setup.columns) if steps else ()
        state = DeviceState(run, envs)
        limit = jnp.int32(1)
        return run_chunk(setup, env, knobs, state, key, one, one, limit)[1]

    key = role_key(0, "train")
    shapes = jax.eval_shape(iteration, make_knobs(config), key, to_words(1))
    report = jax.tree.map(lambda x: np.ones(x.shape[1:], x.dtype), shapes)
    report = report._replace(fault=np.array([-1, 0, 0]))
    return set(to_row(report, 1))


def texts(rung: Explanation) -> Iterator[str]:
    """All prose and mathematics of an explanation."""
    yield from (rung.title, rung.new, rung.idea, rung.lecture)
    yield from (*rung.objective, *rung.update, *rung.notes)
    for term in rung.terms:
        yield from (term.symbol, term.meaning)
    for failure in rung.failures:
        yield from (failure.symptom, failure.cause, failure.remedy)


def mentioned_metrics(rung: Explanation) -> set[str]:
    return {name for term in rung.terms for name in term.metrics}


def mentioned_keys(rung: Explanation) -> set[str]:
    return {path for term in rung.terms for path in term.config}


def columns(line: str) -> int:
    """Cells that a line takes on a terminal."""
    widths = {"W": 2, "F": 2}
    return sum(
        widths.get(unicodedata.east_asian_width(c), 1)
        for c in line
        if not unicodedata.combining(c)
    )


def test_explanations_cover_the_registry_in_its_order() -> None:
    assert list(EXPLANATIONS) == list(ALGORITHMS) == list(ALGORITHM_CONFIGS)


@every_rung
def test_explanation_has_every_part(rung: Explanation) -> None:
    assert re.match(r"§[3-6]( |$)", rung.lecture)
    assert all((rung.objective, rung.update, rung.notes, rung.papers))
    assert len(rung.failures) >= 3
    assert all(term.config or term.metrics for term in rung.terms)


@every_rung
def test_explanation_names_only_keys_of_its_algorithm(rung: Explanation) -> None:
    assert mentioned_keys(rung) <= set(fields(rung.name))


@every_rung
def test_explanation_names_every_own_key(rung: Explanation) -> None:
    own = {f"algo.{f.name}" for f in dataclasses.fields(ALGORITHM_CONFIGS[rung.name])}
    assert own - mentioned_keys(rung) == {"algo.name"}


@every_rung
def test_explanation_names_the_metrics_that_are_logged(rung: Explanation) -> None:
    assert mentioned_metrics(rung) == emitted(rung.name)


@every_rung
def test_prose_names_no_key_or_metric_of_another(rung: Explanation) -> None:
    """Failures tell what to look at and what to change: all of it must exist."""
    keys = set(fields(rung.name))
    short = {path.rpartition(".")[2] for path in keys}
    known = keys | short | emitted(rung.name) | WORDS
    sections = "|".join(
        sorted({path.partition(".")[0] for path in keys if "." in path})
    )
    # A full path, or a word that can be nothing but a key or a metric.
    pattern = rf"\b(?:{sections})\.[a-z]\w+|\b[a-z]{{2,}}(?:_[a-z]{{2,}}\w*)+"
    found = {name for text in texts(rung) for name in re.findall(pattern, text)}
    assert found - known == set()


@every_rung
def test_what_to_set_would_be_accepted(rung: Explanation) -> None:
    """Every `key=value` of a remedy is a valid `--set`."""
    flags = {"algo.name": (rung.name, "--algo")}
    remedies = " ".join(failure.remedy for failure in rung.failures)
    sets = re.findall(r"[a-z]+\.[a-z_]+=[\w.-]*\w", remedies)
    resolve(file=None, flags=flags, sets=sets, use_preset=False)


@every_rung
def test_explanation_fits_80_columns(rung: Explanation, run: Run) -> None:
    out = run("explain", rung.name).out
    assert max(map(columns, out.splitlines())) <= 80
    assert all(line == line.rstrip() for line in out.splitlines())


def test_ladder_fits_80_columns_and_has_one_row_a_rung(run: Run) -> None:
    lines = run("explain").out.splitlines()
    assert max(map(columns, lines)) <= 80
    names = [line.split()[0] for line in lines[1 : 1 + len(ALGORITHMS)]]
    assert names == list(ALGORITHMS)


@pytest.mark.parametrize(("alias", "name"), ALGORITHM_ALIASES.items())
def test_explain_takes_aliases(alias: str, name: str, run: Run) -> None:
    outcome = run("explain", alias)
    assert outcome.out == run("explain", name).out
    assert f"{name} (alias {alias})" in outcome.out


def test_explain_json_has_the_documented_keys(run: Run) -> None:
    data = json.loads(run("explain", "ppo1", "--json").out)
    assert list(data) == [
        *("ok", "name", "aliases", "below", "title", "new", "formula", "objective"),
        *("update", "idea", "notes", "lecture", "papers", "terms", "failures"),
    ]
    assert (data["name"], data["below"]) == ("ppo1", "trpo")
    assert list(data["papers"][0]) == ["authors", "year", "source", "part"]
    assert list(data["terms"][0]) == ["symbol", "meaning", "config", "metrics"]
    assert list(data["failures"][0]) == ["symptom", "cause", "remedy"]


def test_ladder_json_has_one_row_a_rung(run: Run) -> None:
    data = json.loads(run("explain", "--json").out)
    assert [row["name"] for row in data["ladder"]] == list(ALGORITHMS)
    keys = ["name", "aliases", "new", "formula", "lecture", "collects"]
    assert all(list(row) == keys for row in data["ladder"])


@pytest.mark.parametrize(
    ("word", "help"),
    [
        ("PPO1", "did you mean `ppo1`?"),
        ("reward_to_go", "did you mean `reward-to-go`?"),
        ("dqn", "there are reinforce, "),
        ("algo.clip_eps", "pgcli config explain algo.clip_eps"),
    ],
)
def test_unknown_algorithm_is_a_usage_error(word: str, help: str, run: Run) -> None:
    outcome = run("explain", word)
    assert (outcome.code, outcome.out) == (2, "")
    assert help in outcome.err


def test_counterexample_has_the_numbers_it_is_told_with() -> None:
    # One step, two actions, reward 1 for the right one (p = 0.99). The score in its
    # logit is 1 − p where it is taken and −p where it is not.
    p = 0.99
    probability, reward = np.array([p, 1 - p]), np.array([1.0, 0.0])
    score = np.array([1 - p, -p])

    def variance(b: float) -> float:
        estimate = (reward - b) * score
        return float(probability @ estimate**2 - (probability @ estimate) ** 2)

    best = (probability @ (reward * score**2)) / (probability @ score**2)
    assert variance(0) == pytest.approx(p * (1 - p) ** 3)
    text = " ".join(texts(EXPLANATIONS["reinforce-baseline"]))
    assert f"p(1−p)³ = {variance(0):.1e}".replace("e-0", "e-") in text
    assert f"but {variance(p):.1e}".replace("e-0", "e-") in text
    assert f"here {best:.2f}" in text


def test_explain_is_fast_and_imports_no_jax() -> None:
    # Processor time, which others on the machine do not lengthen much: 0.25 s is usual,
    # and JAX alone would take more than the budget.
    code = "import sys; from pgcli.cli.main import main; main(['explain', 'ppo1']); "
    code += "print({'jax', 'numpy', 'gymnasium', 'flax'}.isdisjoint(sys.modules))"
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        words = [sys.executable, "-c", code]
        done = subprocess.run(
            words, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime)
        seconds[-1] -= before.ru_utime + before.ru_stime
        assert done.stdout.splitlines()[-1] == "True"
    assert min(seconds) < 0.5
