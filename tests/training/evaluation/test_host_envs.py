"""Environments of evaluations: made once, one per process, with an end."""

import json
from contextlib import closing
from importlib import import_module
from pathlib import Path

import pytest
from support.small_runs import assert_same_bytes, config, resolved

import pgcli
from pgcli.cli.main import main
from pgcli.diagnose.env_check import check_env
from pgcli.envs import user_modules
from pgcli.errors import EnvironmentFailed, ExitCode, UsageError
from pgcli.training.evaluation import host_envs
from pgcli.training.evaluation.episodes import Episodes
from pgcli.training.loops.host_loop import HostLoop
from pgcli.training.members.host_members import HostMembers

CASES = [f"cases.{name}" for name in ("endless", "one_only", "slow_start", "uneven")]
NO_LIMIT = "env.max_episode_steps=null"
ONE = ("env.num_envs=1", "algo.num_minibatches=1", "env.max_episode_steps=null")


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_modules, "NAMED", [])
    user_modules.use(CASES)
    user_modules.named()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which `Slow-v0` counts its environments."""
    path = tmp_path / "made"
    monkeypatch.setattr(import_module("cases.slow_start"), "MADE", str(path))
    return path


def assert_same(a: Episodes, b: Episodes) -> None:
    assert_same_bytes(a._asdict(), b._asdict())


@pytest.mark.parametrize("seeds", [1, 2])
def test_evaluation_environments_are_made_once(made: Path, seeds: int) -> None:
    # without a search for masks, which makes one more
    cfg = config("Slow-v0", f"seeds={seeds}", "env.action_mask=off")
    with closing(HostMembers(cfg) if seeds > 1 else HostLoop(cfg)) as loop:
        for _ in range(3):
            loop.evaluate(4, "selection", 0)
        loop.evaluate(8, "reporting", 0)
    # 4 of training for each member, 8 of evaluation
    assert len(made.read_text().splitlines()) == 4 * seeds + 8


@pytest.mark.parametrize("env_id", ["CartPole-v1", "FrozenLake-v1"])
def test_used_environments_play_as_new_ones(env_id: str) -> None:
    cfg = config(env_id)
    with closing(HostLoop(cfg)) as used, closing(HostLoop(cfg)) as new:
        used.evaluate(4, "selection", 0)
        assert_same(used.evaluate(8, "reporting", 0), new.evaluate(8, "reporting", 0))


def test_environments_that_ignore_their_seed_are_made_anew() -> None:
    counting = import_module("cases.uneven").Counting
    with closing(HostLoop(config("Counting-v0"))) as loop:
        before = counting.made
        first = loop.evaluate(4, "selection", 0)
        assert counting.made == before + 4
        assert_same(loop.evaluate(4, "selection", 0), first)
        assert_same(loop.evaluate(4, "selection", 0), first)
        assert counting.made == before + 12


def test_a_simulator_that_a_process_can_have_once_is_evaluated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = resolved("OneOnly-v0", *ONE, "steps=32", "eval.every=16")
    result = pgcli.train(given, runs_dir=tmp_path, name="one")
    assert result["eval"]["return_mean"] == 20
    # a first environment in this process does not help: the second one fails
    words = ["--runs-dir", str(tmp_path), "--episodes", "2", "--json"]
    modules = [word for case in CASES for word in ("--env-module", case)]
    assert main(["eval", "one", *words, *modules]) == ExitCode.DONE
    shown = capsys.readouterr()
    assert json.loads(shown.out)["return_mean"] == 20
    assert "a process of its own" in shown.err


def test_an_environment_in_its_own_process_is_seeded_again() -> None:
    with closing(HostLoop(config("OneOnly-v0", *ONE))) as loop:
        first = loop.evaluate(4, "selection", 0)
        assert len(loop.news()) == 1
        assert first.envs.tolist() == [0] * 4
        assert_same(loop.evaluate(4, "selection", 0), first)
        assert loop.news() == []


def test_two_simulators_in_a_process_are_refused_with_a_remedy() -> None:
    with pytest.raises(EnvironmentFailed, match="already running") as caught:
        HostLoop(config("OneOnly-v0", NO_LIMIT))
    assert caught.value.help is not None
    assert "env.num_envs=1" in caught.value.help
    # the one that was made is closed again
    assert import_module("cases.one_only").OneOnly.running == 0


def test_the_check_of_such_a_simulator_says_how_to_train_it() -> None:
    result = check_env(config("OneOnly-v0", *ONE), 0.01)
    assert result["ok"]
    helps = [row["help"] or "" for row in result["findings"]]
    assert any("env.num_envs=1" in help for help in helps)


def test_an_endless_environment_is_refused_before_training(tmp_path: Path) -> None:
    given = resolved("Endless-v0", NO_LIMIT)
    with pytest.raises(UsageError, match="no time limit is known") as caught:
        pgcli.train(given, runs_dir=tmp_path)
    assert not list(tmp_path.iterdir())
    assert caught.value.help is not None
    assert "--set env.max_episode_steps" in caught.value.help


def test_an_endless_environment_trains_without_evaluation(tmp_path: Path) -> None:
    never = ("eval.every=0", "eval.final_episodes=0", "steps=32")
    result = pgcli.train(resolved("Endless-v0", NO_LIMIT, *never), runs_dir=tmp_path)
    assert result["ok"]
    assert result["eval"] is None


def test_members_without_a_final_evaluation_have_no_scores(tmp_path: Path) -> None:
    never = ("eval.every=0", "eval.final_episodes=0", "steps=32", "seeds=2")
    result = pgcli.train(resolved("CartPole-v1", *never), runs_dir=tmp_path)
    assert [member["eval"] for member in result["members"]] == [None, None]
    assert [cell["seeds"] for cell in result["cells"]] == [2]


def test_an_episode_that_does_not_end_is_cut_and_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(host_envs, "LONGEST", 50)
    with closing(HostLoop(config("Stuck-v0", NO_LIMIT))) as loop:
        assert loop.evaluate(4, "selection", 0).lengths.tolist() == [50] * 4
        (news,) = loop.news()
        assert "4 of 4 evaluation episodes were cut after 50 steps" in news
