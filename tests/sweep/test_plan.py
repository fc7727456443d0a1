"""Sweep files: what they mean, and every mistake with its line."""

import re
import shlex
from pathlib import Path

import gymnasium
import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.envs.registration import EnvSpec

from pgcli.config.errors import ConfigError
from pgcli.config.load import resolve
from pgcli.errors import UsageError
from pgcli.sweep import plan as plans

ROOT = Path(__file__).parents[2]
HEAD = "config: {env.id: func:CartPole-v1, steps: 2000}\nsampler: grid\n"


def load(folder: Path, text: str) -> plans.Plan:
    file = folder / "sweep.yaml"
    file.write_text(text)
    return plans.load(file)


def test_trial_has_the_preset_the_shared_keys_and_its_values(tmp_path: Path) -> None:
    plan = load(tmp_path, HEAD + "space:\n  optimizer.lr: [1e-4, 1e-3]\n")
    assert plan.num_trials == 2
    resolved = plan.resolve(plan.labels(1))
    assert resolved.preset == "ppo2/func-CartPole-v1"
    assert resolved.config.optimizer.lr == 1e-3
    assert resolved.config.steps == 2000
    assert resolved.origins["optimizer.lr"].endswith("sweep.yaml:4")


def test_base_is_a_preset_or_a_file_next_to_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("rollout: {num_steps: 16}\n")
    space = "space: {optimizer.lr: [1e-4]}\n"
    plan = load(tmp_path, f"base: base.yaml\n{HEAD}{space}")
    assert plan.first.rollout.num_steps == 16
    plan = load(tmp_path, f"base: style/openai\n{HEAD}{space}")
    assert plan.resolve(plan.labels(0)).preset == "style/openai"


def test_command_resolves_to_the_configuration_of_the_trial(tmp_path: Path) -> None:
    space = "space:\n  network.hidden: [[8], [8, 8]]\n  optimizer.lr: [1e-4, 1e-3]\n"
    plan = load(tmp_path, HEAD + space)
    words = shlex.split(plan.command(3, plan.labels(3), Path("runs")))
    sets = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    assert resolve(file=None, flags={}, sets=sets).config == (
        plan.resolve(plan.labels(3)).config
    )
    assert words[:2] == ["pgcli", "train"]
    assert "trial-0003" in words


def test_a_group_of_keys_has_a_name_that_is_no_key(tmp_path: Path) -> None:
    space = """space:
  size:
    choice:
      small: {env.num_envs: 8, rollout.num_steps: 64}
      large: {env.num_envs: [32, 64], rollout.num_steps: 128}
"""
    plan = load(tmp_path, HEAD + space)
    sizes = [plan.resolve(plan.labels(n)).config for n in range(3)]
    pairs = [(config.env.num_envs, config.rollout.num_steps) for config in sizes]
    assert pairs == [(8, 64), (32, 128), (64, 128)]


def test_random_trials_of_the_same_file_are_the_same(tmp_path: Path) -> None:
    text = HEAD.replace("grid", "random\ntrials: 3")
    text += "space: {optimizer.lr: {log_uniform: [1e-4, 1e-2]}}\n"
    one, two = load(tmp_path, text), load(tmp_path, text)
    assert [one.labels(n) for n in range(3)] == [two.labels(n) for n in range(3)]


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("spcae: {}\n", "unknown key `spcae`", 3),
        ("space:\n  optimizer.lrr: [1e-4]\n", "unknown key `optimizer.lrr`", 4),
        ("space:\n  optimizer.lr: [1e-4, -1]\n", "`optimizer.lr` must be", 4),
        ("space:\n  algo.num_epochs: {integers: [0, 4]}\n", "`algo.num_epochs`", 4),
        ("space:\n  optimizer.lr: {log_uniform: [0, 1]}\n", "both positive", 4),
        ("space:\n  optimizer.lr: {uniform: [1e-4, 1e-2]}\n", "number of points", 4),
        ("space:\n  optimizer.lr: {lognormal: [1, 2]}\n", "`optimizer.lr` must be", 4),
        ("space:\n  optimizer.lr: [1e-3, 1e-3]\n", "twice", 4),
        ("space:\n  optimizer:\n    lr: [1e-3]\n", "`optimizer` must be", 5),
        ("pruner: medain\nspace: {optimizer.lr: [1e-3]}\n", "`pruner` must be", 3),
        ("trials: 0\nspace: {optimizer.lr: [1e-3]}\n", "`trials` must be", 3),
        ("space:\n  seeds: [1]\n  nothing: [1]\n", "unknown key `nothing`", 5),
        (
            "space:\n  rollout.num_steps: [128, 7]\n  algo.num_minibatches: [32]\n",
            "is not divisible by",
            5,
        ),
    ],
)
def test_mistakes_have_a_line(
    tmp_path: Path, text: str, message: str, line: int
) -> None:
    with pytest.raises(ConfigError) as error:
        load(tmp_path, HEAD + text)
    assert message in error.value.render()
    assert f"sweep.yaml:{line}" in error.value.render()


def test_a_sampler_that_learns_needs_a_budget(tmp_path: Path) -> None:
    text = HEAD.replace("grid", "tpe") + "space: {optimizer.lr: [1e-4, 1e-3]}\n"
    with pytest.raises(ConfigError, match="needs a budget"):
        load(tmp_path, text)


def test_an_unknown_environment_is_found_before_anything_runs(tmp_path: Path) -> None:
    text = HEAD.replace("CartPole", "CratPole") + "space: {optimizer.lr: [1e-4]}\n"
    with pytest.raises(UsageError, match="CratPole"):
        load(tmp_path, text)


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/sweeps/*.yaml")))
def test_shipped_sweeps_are_valid_for_grid_and_random(
    path: Path, tmp_path: Path
) -> None:
    text = path.read_text()
    for sampler in ("grid", "random"):
        assert load(tmp_path, text.replace("sampler: random", f"sampler: {sampler}"))


def test_trials_without_a_preset_have_defaults_by_the_spaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Counted(CartPoleEnv):
        def __init__(self) -> None:
            made.append("one")
            super().__init__()

    spec = EnvSpec("Counted-v0", Counted, max_episode_steps=9)
    monkeypatch.setitem(gymnasium.registry, "Counted-v0", spec)
    text = HEAD.replace("func:CartPole-v1", "Counted-v0")
    plan = load(tmp_path, text + "space: {optimizer.lr: [1e-4, 1e-3]}\n")
    resolved = plan.resolve(plan.labels(1))
    assert (resolved.spaces, resolved.config.normalize.obs) == ("vectors", True)
    assert resolved.config.steps == 2000
    assert made == ["one", "one"]  # to look for action masks, and at the spaces


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid"])
def test_example_of_the_page_is_valid_with_every_sampler(
    tmp_path: Path, sampler: str
) -> None:
    page = (ROOT / "docs" / "sweeps.md").read_text()
    [text] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    plan = load(tmp_path, text.replace("sampler: tpe", f"sampler: {sampler}"))
    # 5 rates × 3 λ × 2 networks × (9 epochs of ppo2, and a2c), or the budget
    assert len(plan.grid) == 5 * 3 * 2 * 10
    assert plan.num_trials == 40
