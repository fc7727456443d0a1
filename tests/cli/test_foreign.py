"""Command lines of people who know other libraries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from pgcli.cli import foreign
from pgcli.cli.foreign_words import COMMANDS, EVAL_REMEDIES, OPTIONS, REMEDIES
from pgcli.cli.main import build_app
from pgcli.config.algorithms import ALGORITHM_ALIASES, ALGORITHM_CONFIGS
from pgcli.config.fields import fields
from pgcli.config.other_names import OTHER_ALGORITHMS, OTHER_NAMES, SIZES

Run = Callable[..., Any]
TREE: Any = get_command(build_app())


def options(name: str) -> dict[str, bool]:
    return {
        spelling: not param.is_flag
        for param in TREE.commands[name].params
        if param.param_type_name == "option"
        for spelling in param.opts
    }


def read(*words: str) -> list[str]:
    return foreign.read(words, options("train"), "pgcli train", arguments=False)[0]


@pytest.mark.parametrize("name", OPTIONS)
def test_option_of_another_library_is_an_option_of_some_command(name: str) -> None:
    takers = [c for c in ("train", "eval") if OPTIONS[name] in options(c)]
    assert takers
    known = options(takers[0])
    assert name not in known
    given = [name, "3"] if known[OPTIONS[name]] else [name]
    ours, notes = foreign.read(given, known, takers[0], arguments=True)
    assert ours == [OPTIONS[name], *given[1:]]
    assert notes == [f"`{' '.join(given)}` is read as `{' '.join(ours)}`"]


@pytest.mark.parametrize("name", REMEDIES)
def test_option_without_equivalent_has_a_remedy(name: str, run: Run) -> None:
    outcome = run("train", name, "x")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"error: unknown option `{name}`" in outcome.err
    assert f"help: {REMEDIES[name]}" in outcome.err


@pytest.mark.parametrize("name", EVAL_REMEDIES)
def test_option_of_evaluation_has_a_remedy(name: str, run: Run) -> None:
    outcome = run("eval", name, "x")
    assert outcome.code == 2
    assert f"help: {EVAL_REMEDIES[name]}" in outcome.err


@pytest.mark.parametrize("name", COMMANDS)
def test_command_of_another_library_has_a_remedy(name: str, run: Run) -> None:
    assert name not in TREE.commands
    outcome = run(name)
    assert outcome.code == 2
    assert f"help: {COMMANDS[name]}" in outcome.err


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_name_of_another_library_is_that_of_a_key(name: str) -> None:
    known = {path for algo in ALGORITHM_CONFIGS for path in fields(algo)}
    assert OTHER_NAMES[name] in known
    option = f"--{name.replace('_', '-')}"
    if name not in SIZES and not {option} & {*REMEDIES, *OPTIONS}:
        key = OTHER_NAMES[name]
        ours = ["--steps", "1"] if key == "steps" else ["--set", f"{key}=1"]
        ours = ["--env", "1"] if key == "env.id" else ours
        assert read(option, "1") == ours


@pytest.mark.parametrize("name", OTHER_ALGORITHMS)
def test_algorithm_of_another_library_has_a_remedy(name: str, run: Run) -> None:
    assert name not in {*ALGORITHM_CONFIGS, *ALGORITHM_ALIASES}
    outcome = run("train", "--algo", name.upper())
    assert outcome.code == 2
    assert f"help: {OTHER_ALGORITHMS[name]}" in outcome.err


@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ("--lr 1e-3", "--set optimizer.lr=1e-3"),
        ("--learning_rate=1e-3", "--set optimizer.lr=1e-3"),
        ("--optimizer.lr 1e-3", "--set optimizer.lr=1e-3"),
        ("--total-timesteps 1e5", "--steps 1e5"),
        ("--Total_Timesteps 1e5", "--steps 1e5"),
        ("--num-envs 3 --gamma 0.9", "--set env.num_envs=3 --set algo.gamma=0.9"),
        ("--norm-obs", "--set normalize.obs=true"),
        ("--until_return -200", "--until-return -200"),
        ("--dry_run", "--dry-run"),
        ("CartPole-v1", "--env CartPole-v1"),
        ("CartPole", "--env CartPole"),
        ("ALE/Pong-v5", "--env ALE/Pong-v5"),
        ("Pong", "--env Pong"),
        ("brax:ant --seed 3", "--env brax:ant --seed 3"),
        ("ppo2 CartPole-v1", "--algo ppo2 --env CartPole-v1"),
        ("PPO", "--algo ppo2"),
        ("lr=1e-3 seed=3", "--set optimizer.lr=1e-3 --set seed=3"),
        ("my.yaml", "--config my.yaml"),
        # not certain: as written
        ("ppo2 --algo a2c", "ppo2 --algo a2c"),
        ("--algo a2c --name CartPole-v1", "--algo a2c --name CartPole-v1"),
        ("-- CartPole-v1", "-- CartPole-v1"),
        ("nothing size=5 --nothing 3", "nothing size=5 --nothing 3"),
    ],
)
def test_what_is_certain_is_read_as_meant(given: str, ours: str) -> None:
    assert read(*given.split()) == ours.split()


def test_what_was_read_is_a_line_on_stderr(run: Run) -> None:
    words = ("train", "--lr", "1e-3", "CartPole-v1", "--dry-run")
    lines = run(*words).err.splitlines()
    assert lines[:2] == [
        "`--lr 1e-3` is read as `--set optimizer.lr=1e-3`",
        "`CartPole-v1` is read as `--env CartPole-v1`",
    ]
    assert run(*words, "-q").err == ""


@pytest.mark.parametrize(
    ("words", "message", "help"),
    [
        ("--algo ppo2", "`--algo` is an option of `train`", "pgcli train --algo ppo2"),
        (
            "ppo2 CartPole-v1 --lr 1",
            "unknown command `ppo2`",
            "pgcli train --algo ppo2 --env CartPole-v1 --set optimizer.lr=1",
        ),
        ("my.yaml", "unknown command `my.yaml`", "pgcli train --config my.yaml"),
        ("train --lr", "unknown option `--lr`", "--set optimizer.lr=VALUE"),
        ("train --set seed 3", "`--set` needs a path and a value", "--set seed=3"),
        ("train --episodes-out f", "unknown option", "it is an option of `eval`"),
        ("resume x --lr 3", "unknown option", "`pgcli train --set optimizer.lr=…`"),
        ("train --env", "option `--env` needs a value", "--env ID: environment"),
        ("train --seed 1,2", "expected one number", "several are --seeds 1,2"),
        ("train --seeds 1,3", "the seeds of one run follow each other", "--seeds 3:6"),
        (
            "train --algo ppo2,a2c",
            "unknown algorithm",
            "--algos ppo2,a2c`",
        ),
        ("train --env A-v1,B-v1 --dry-run", "unknown environment", "a run each"),
        ("train --resume last", "expected never or auto", "`pgcli resume RUN`"),
        ("train -c CartPole-v1", "cannot read CartPole-v1", "`--env CartPole-v1`"),
        ("train -c ppo2-CartPole-v1", "cannot read", "`-c ppo2/CartPole-v1`"),
        ("train -c mine.yaml", "cannot read", "did you mean `mine.yml`?"),
        ("train -c tab.yml", "not valid YAML", "indent with spaces, not tabs"),
        ("train --devices 99", "cannot be split", "leave out `parallel.devices`"),
        ("eval", "RUN|CHECKPOINT is missing", "there is no run yet: `pgcli train`"),
    ],
)
def test_mistake_has_a_remedy(words: str, message: str, help: str, run: Run) -> None:
    Path("mine.yml").write_text("seed: 3\n")
    Path("tab.yml").write_text("algo:\n\tname: ppo2\n")
    outcome = run(*words.split())
    assert outcome.code == 2
    error, _, remedy = outcome.err.partition("  help: ")
    assert message in error
    assert help in remedy


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("--runs-dir x runs list", "runs list --runs-dir x"),
        ("runs --runs-dir x list", "runs list --runs-dir x"),
        ("--seed 3 config show --json", "config show --seed 3 --json"),
        ("--seed=3 -q config show", "-q config show --seed=3"),
        ("help train", "train --help"),
        ("help", "--help"),
        ("-V", "--version"),
    ],
)
def test_words_in_another_order_mean_the_same(words: str, same: str, run: Run) -> None:
    assert run(*words.split()) == run(*same.split())


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        ("--steps 5k", "steps", 5000),
        ("--steps 1.5M", "steps", 1_500_000),
        ("--seeds 4,5,6", "seeds", 3),
        ("--seeds 4,5,6", "seed", 4),
    ],
)
def test_numbers_are_read_as_people_write_them(
    words: str, key: str, value: int, run: Run
) -> None:
    import json

    shown = json.loads(run("train", "--dry-run", "--json", *words.split()).out)
    assert shown["config"][key] == value
