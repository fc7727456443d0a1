"""Exit code, stdout and stderr together; PGCLI_UPDATE_GOLDEN=1 rewrites the files."""

from collections.abc import Callable
from pathlib import Path

import pytest

CASES = {
    "help": "--help",
    "help_train": "train -h",
    "help_eval": "eval -h",
    "help_config": "config -h",
    "no_command": "runs",
    "no_command_json": "--json",
    "version": "--version",
    "unknown_command": "trian",
    "unknown_option": "train --stepz 3",
    "unknown_option_json": "--json train --stepz 3",
    "unknown_short_option": "train -z",
    "missing_value": "train --seed",
    "missing_argument": "eval",
    "extra_argument": "train nothing",
    "bad_episodes": "eval r --episodes 0",
    "bad_values": "train --seed x --steps 1.5 --algo ppq --set a=3",
    "bad_values_json": "train --seed x --set algo.clip_epss=3 --json",
    "resume_and_overwrite": "train --resume auto --overwrite",
    "train": "train --no-preset --seed 3",
    "train_quiet_json": "train --no-preset --seed 3 -q --json",
    "train_verbose": "-v train --no-preset --seed 3",
    "resume_no_run": "runs show nothing",
    "dry_run": "train --no-preset --dry-run",
    "dry_run_episodes": "train --no-preset --dry-run --algo reinforce",
    "dry_run_trpo": "train --no-preset --dry-run --algo trpo",
    "eval": "eval ppo2-CartPole-v1-k3f9wq --episodes 2",
    "eval_json": "eval ppo2-CartPole-v1-k3f9wq --episodes 2 --json",
    "eval_below": "eval r --min-return 300.5",
    "eval_below_json": "eval r --min-return 300.5 --json",
    "runs_list_empty": "runs list",
    "help_ladder": "ladder -h",
    "ladder_no_algorithm": "ladder --algos a2c,ppo3",
    "ladder_bad_seeds": "ladder --seeds 5:5",
    "ladder_bad_rate": "ladder --algos a2c --lr a2c=-1",
    "ladder_bad_set": "ladder --algos a2c,ppo2 --set algo.clip_epss=1 --json",
    "ladder_variance_tuned": "ladder --gradient-variance --tune 1e-3",
    "help_sweep": "sweep -h",
    "help_sweep_run": "sweep run -h",
    "sweep_no_file": "sweep nothing.yaml",
    "help_envs": "envs -h",
    "help_envs_check": "envs check -h",
    "help_init": "init -h",
    "help_presets": "presets -h",
    "envs_mistyped": "envs chekc CartPole-v1",
    "envs_check_unknown": "envs check CartPol-v1",
    "envs_check_unnamed_module": "envs check my_pkg:MyEnv-v0",
    "env_kwargs_misspelt": "envs check FrozenLake-v1 --env-kwargs slippery=false",
    "env_kwargs_no_value": "train --env-kwargs size",
    "env_module_unknown": "train --env-module nothing_of_this_name",
    "env_module_file": "train --env-module my_env.py",
    "wrapper_misspelt": "train --set env.wrappers=[FlatenObservation]",
    "wrapper_refused": "train --set env.wrappers=[NormalizeReward]",
    "help_explain": "explain -h",
    "explain_no_algorithm": "explain ppo3",
    "explain": "config explain algo.clip_eps",
    "explain_unknown": "config explain algo.clip_epss",
}


@pytest.mark.parametrize("name", CASES)
def test_command_answers_as_recorded(
    name: str, run: Callable[..., object], golden: Callable[..., None]
) -> None:
    golden(name, run(*CASES[name].split()))


def test_every_golden_file_has_a_case() -> None:
    folder = Path(__file__).parent.parent / "golden" / "cli"
    assert {path.stem for path in folder.iterdir()} == set(CASES)
