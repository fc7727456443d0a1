from pathlib import Path

import pytest

from pgcli.config.algorithms import ALGORITHM_CONFIGS
from pgcli.config.load import resolve
from pgcli.config.source import families, presets

FILES = presets.available()
PAIRS = [path for path in FILES if path.parent.name in ALGORITHM_CONFIGS]
STYLES = [path for path in FILES if path.parent.name == "style"]


@pytest.mark.parametrize("path", PAIRS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_preset_names_the_algorithm_and_environment_of_its_path(path: Path) -> None:
    resolved = resolve(file=path, flags={}, sets=[])
    config, origins = resolved.config, resolved.origins
    assert config.algo.name == path.parent.name
    assert presets.file_name(config.env.id) == path.name
    assert presets.find(config.algo.name, config.env.id) == path
    assert origins["algo.name"].startswith(str(path))
    assert origins["env.id"].startswith(str(path))


@pytest.mark.parametrize("path", PAIRS, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_preset_is_what_naming_its_pair_trains(path: Path) -> None:
    config = resolve(file=path, flags={}, sets=[]).config
    flags = {
        "algo.name": (config.algo.name, "--algo"),
        "env.id": (config.env.id, "--env"),
    }
    resolved = resolve(file=None, flags=flags, sets=[])
    assert resolved.config == config
    assert resolved.preset == f"{path.parent.name}/{path.stem}"


def test_every_preset_belongs_to_an_algorithm_or_a_family_or_is_a_style() -> None:
    of_families = [path for path in FILES if path.parent.name == families.FOLDER]
    assert sorted(PAIRS + STYLES + of_families) == FILES
    assert [path.stem for path in of_families] == sorted(families.FAMILIES)


@pytest.mark.parametrize("path", STYLES, ids=lambda p: p.stem)
def test_style_is_found_by_name_and_leaves_the_environment_open(path: Path) -> None:
    name = f"style/{path.stem}"
    flags = {"env.id": ("Pendulum-v1", "--env")}
    resolved = resolve(file=Path(name), flags=flags, sets=["algo.clip_eps=0.1"])
    assert resolved.preset == name
    assert resolved.config.env.id == "Pendulum-v1"
    assert resolved.config.rollout.num_steps == 2048
    assert resolved.config.algo.clip_eps == 0.1  # type: ignore[union-attr]
    assert resolved.origins["rollout.num_steps"].startswith(f"preset {name}")


def test_styles_differ_where_the_schools_do() -> None:
    openai, wm2020 = (
        resolve(file=Path(f"style/{name}"), flags={}, sets=[]).config.algo
        for name in ("openai", "wm2020")
    )
    assert (openai.value_clip_eps, wm2020.value_clip_eps) == (0.2, None)  # type: ignore[union-attr]
    assert (openai.recompute_advantage, wm2020.recompute_advantage) == (False, True)  # type: ignore[union-attr]


def test_file_of_a_presets_name_wins_over_the_preset(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "style").mkdir()
    (tmp_path / "style" / "openai").write_text("seed: 7\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    resolved = resolve(file=Path("style/openai"), flags={}, sets=[])
    assert (resolved.preset, resolved.config.seed) == (None, 7)


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
