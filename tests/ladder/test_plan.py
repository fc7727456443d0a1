"""What a ladder trains, and which settings its rungs share."""

import itertools
from pathlib import Path

import pytest

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.load import ConfigError, resolve
from pgcli.config.schema import RunConfig
from pgcli.errors import UsageError
from pgcli.ladder.plan import Request, algorithms, make_rungs, reconcile, settings


def request(*algos: str, env: str = "func:CartPole-v1", **more: object) -> Request:
    values = {"env": env, "algos": algos, "seeds": (0, 1), "out": Path("out"), **more}
    return Request(**values)  # type: ignore[arg-type]


def test_algorithms_are_in_the_order_of_the_registry() -> None:
    assert algorithms(["ppo", "a2c", "vpg", "ppo2"]) == ("reinforce", "a2c", "ppo2")
    assert algorithms(None) == tuple(ALGORITHM_CONFIGS)


def test_algorithms_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        algorithms(["ppo3"])
    assert "did you mean `ppo" in str(caught.value.help)


def preset_of(algo: str, env: str = "func:CartPole-v1") -> RunConfig:
    flags = {"algo.name": (algo, "--algo"), "env.id": (env, "--env")}
    return resolve(file=None, flags=flags, sets=[]).config


def test_rungs_share_the_largest_budget_of_their_presets() -> None:
    rungs = make_rungs(request("a2c", "ppo2"))
    largest = max(preset_of("a2c").steps, preset_of("ppo2").steps)
    assert {rung.config.steps for rung in rungs} == {largest}


def test_rungs_keep_their_presets() -> None:
    [rung] = make_rungs(request("a2c"))
    assert rung.preset == "a2c/func-CartPole-v1"
    assert rung.config.optimizer == preset_of("a2c").optimizer


def test_reconcile_takes_the_default_where_presets_disagree() -> None:
    one, other = (
        resolve(
            file=None,
            flags={},
            sets=[f"env.num_envs={n}", "network.hidden=[32]", f"rollout.num_steps={t}"],
        ).config
        for n, t in ((4, 64), (16, 32))
    )
    assert reconcile([one, other]) == ["env.num_envs=8"]
    assert reconcile([one, one]) == []


def test_rungs_share_network_and_environments() -> None:
    rungs = make_rungs(request(*ALGORITHM_CONFIGS, env="func:Pendulum-v1"))
    assert len({repr(rung.config.env) for rung in rungs}) == 1
    assert len({rung.config.network for rung in rungs}) == 1


def test_set_wins_over_what_is_made_common() -> None:
    rungs = make_rungs(
        request("a2c", "ppo2", env="func:Pendulum-v1", sets=("env.num_envs=16",))
    )
    assert {rung.config.env.num_envs for rung in rungs} == {16}


def test_set_of_an_algorithm_key_is_for_the_rungs_that_have_it() -> None:
    reinforce, a2c = make_rungs(
        request("reinforce", "a2c", sets=("algo.gae_lambda=0.5",))
    )
    assert reinforce.sets == ()
    assert a2c.config.algo.gae_lambda == 0.5  # type: ignore[union-attr]


def test_set_of_a_rollout_key_is_for_the_rungs_that_collect_so() -> None:
    reinforce, a2c = make_rungs(
        request("reinforce", "a2c", sets=("rollout.num_steps=16",))
    )
    assert reinforce.sets == ()
    assert a2c.config.rollout.num_steps == 16


def test_set_of_a_key_that_no_rung_has_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"unknown key `algo\.clip_epss`"):
        make_rungs(request("a2c", "ppo2", sets=("algo.clip_epss=1",)))


@pytest.mark.parametrize(
    "text", ["seed=3", "steps=5", "env.id=CartPole-v1", "until_return=9"]
)
def test_set_of_what_the_ladder_decides_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match=f"--set {text.split('=')[0]}"):
        make_rungs(request("a2c", "ppo2", steps=1000, sets=(text,)))


def test_lr_is_for_its_rung_alone() -> None:
    a2c, ppo2 = make_rungs(request("a2c", "ppo2", lrs={"a2c": 0.5}))
    assert a2c.config.optimizer.lr == 0.5
    assert ppo2.config.optimizer.lr == preset_of("ppo2").optimizer.lr


def test_lr_excludes_set_of_it() -> None:
    with pytest.raises(UsageError, match="excludes"):
        make_rungs(request("a2c", lrs={"a2c": 0.5}, sets=("optimizer.lr=1e-3",)))


@pytest.mark.parametrize("algo", ALGORITHM_CONFIGS)
def test_job_arguments_resolve_to_its_configuration(algo: str) -> None:
    [rung] = make_rungs(request(algo, sets=("network.hidden=[8]",)))
    job = rung.with_lr(3e-3).job(7, Path("runs"), "-lr0.003")
    words = dict(zip(job.arguments[::2], job.arguments[1::2], strict=True))
    flags = {
        "algo.name": (words["--algo"], "--algo"),
        "env.id": (words["--env"], "--env"),
        "seed": (int(words["--seed"]), "--seed"),
        "steps": (int(words["--steps"]), "--steps"),
    }
    sets = [b for a, b in itertools.pairwise(job.arguments) if a == "--set"]
    assert resolve(file=None, flags=flags, sets=sets).config == job.config
    assert job.name == f"{algo}-lr0.003-s7"


def test_settings_are_either_common_or_a_rungs_own() -> None:
    rungs = make_rungs(request("reinforce", "a2c"))
    common, own = settings(rungs)
    assert common["network.hidden"] == (64, 64)
    assert own["a2c"]["algo.gae_lambda"] == preset_of("a2c").algo.gae_lambda
    assert own["a2c"]["rollout.num_steps"] == preset_of("a2c").rollout.num_steps
    assert "rollout.num_steps" not in own["reinforce"]
    assert not set(common) & set(own["a2c"])
