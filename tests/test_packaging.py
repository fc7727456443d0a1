"""The wheel: what it contains, and that it finds its data where it is installed."""

import email
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

import pgcli
from pgcli.envs import registry

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "algorithms"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this tree, without the network."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    subprocess.run([*build, str(out), str(ROOT)], check=True, capture_output=True)
    [path] = out.iterdir()
    return path


def files(wheel: Path) -> set[str]:
    return set(zipfile.ZipFile(wheel).namelist())


def test_wheel_carries_every_preset(wheel: Path) -> None:
    configs = {p for p in (ROOT / "configs").rglob("*") if p.is_file()}
    assert any(p.suffix == ".yaml" for p in configs)
    expected = {f"pgcli/_configs/{p.relative_to(ROOT / 'configs')}" for p in configs}
    assert {f for f in files(wheel) if f.startswith("pgcli/_configs/")} == expected


def test_wheel_carries_the_pages_of_explain(wheel: Path) -> None:
    pages = {f"pgcli/_docs/algorithms/{p.name}" for p in DOCS.glob("*.md")}
    assert {f for f in files(wheel) if f.startswith("pgcli/_docs/")} == pages


def test_wheel_carries_the_package_and_nothing_else(wheel: Path) -> None:
    kinds = (".py", ".css", ".js")
    paths = [p for p in (ROOT / "pgcli").rglob("*") if p.suffix in kinds]
    assert {p.suffix for p in paths} == set(kinds)
    assert {str(p.relative_to(ROOT)) for p in paths} <= files(wheel)
    assert "pgcli/py.typed" in files(wheel)
    assert {f.split("/")[0] for f in files(wheel)} == {
        "pgcli",
        f"pgcli_jax-{pgcli.__version__}.dist-info",
    }


def test_wheel_has_the_version_and_the_extras_of_the_source(wheel: Path) -> None:
    info = f"pgcli_jax-{pgcli.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        scripts = archive.read(f"{info}/entry_points.txt").decode()
    assert metadata["Name"] == "pgcli-jax"
    assert metadata["Version"] == pgcli.__version__
    assert {"test", "all", "cuda12", "cuda13"} <= set(
        metadata.get_all("Provides-Extra")
    )
    assert "pgcli = pgcli.cli.main:main" in scripts


def test_wheel_finds_its_data_outside_the_source_tree(
    wheel: Path, tmp_path: Path, user_environ: Mapping[str, str]
) -> None:
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = (
        "from pgcli.cli import algorithm_pages as pages; "
        "from pgcli.config.source import presets; "
        "print(presets.find('ppo2', 'CartPole-v1')); print(pages.directory()); "
        "assert pages.read('ppo2').text.startswith('# ppo2')"
    )
    preset, page_directory = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**user_environ, "PYTHONPATH": str(tmp_path / "site")},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    package = tmp_path / "site" / "pgcli"
    assert Path(preset).is_relative_to(package / "_configs")
    assert Path(page_directory) == package / "_docs" / "algorithms"


def test_constraints_pin_every_dependency_and_every_test_tool() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {name(r) for r in (*project["dependencies"], *extras["test"])}
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all("==" in pin and "//" not in pin for pin in pins)
    assert wanted <= {name(pin) for pin in pins}


def test_extras_that_the_environments_name_exist() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {extra for extra, _ in registry.EXTRAS.values()}
    assert named <= set(project["optional-dependencies"])


def name(requirement: str) -> str:
    """The normalised name at the head of a requirement."""
    head = requirement
    for mark in "<>=[; ":
        head = head.split(mark)[0]
    return head.lower().replace("_", "-").replace(".", "-")
