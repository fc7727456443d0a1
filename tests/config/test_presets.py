from pathlib import Path

import pytest

from pgcli.config import presets
from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.load import resolve

FILES = presets.available()


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_preset_names_the_algorithm_and_environment_of_its_path(path: Path) -> None:
    resolved = resolve(file=path, flags={}, sets=[])
    config, origins = resolved.config, resolved.origins
    if path.parent.name in ALGORITHM_CONFIGS:
        assert config.algo.name == path.parent.name
        assert presets.file_name(config.env.id) == path.name
        assert presets.find(config.algo.name, config.env.id) == path
    assert origins["algo.name"].startswith(str(path))
    assert origins["env.id"].startswith(str(path))


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_preset_is_what_naming_its_pair_trains(path: Path) -> None:
    config = resolve(file=path, flags={}, sets=[]).config
    flags = {
        "algo.name": (config.algo.name, "--algo"),
        "env.id": (config.env.id, "--env"),
    }
    resolved = resolve(file=None, flags=flags, sets=[])
    if path.parent.name in ALGORITHM_CONFIGS:
        assert resolved.config == config
        assert resolved.preset == f"{path.parent.name}/{path.stem}"


@pytest.mark.parametrize("algo", ALGORITHM_CONFIGS)
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1"])
def test_classic_control_has_a_preset_on_host_and_device(
    algo: str, env_id: str
) -> None:
    assert presets.find(algo, env_id)
    assert presets.find(algo, f"func:{env_id}")


def test_first_run_without_a_flag_uses_a_preset() -> None:
    assert resolve(file=None, flags={}, sets=[]).preset == "ppo2/CartPole-v1"


def test_preset_name_has_no_separator() -> None:
    assert presets.file_name("func:CartPole-v1") == "func-CartPole-v1.yaml"
    assert presets.file_name("ALE/Pong-v5") == "ALE-Pong-v5.yaml"


@pytest.mark.parametrize(
    "env_id", ["", "../ppo2/CartPole-v1", "/etc/passwd", "a\0b", "x" * 5000, "..", "\n"]
)
def test_find_never_leaves_the_directory(env_id: str) -> None:
    assert presets.find("a2c", env_id) is None


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_preset_says_first_what_it_is_and_starts_from(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert lines[1].startswith("# ")
