"""Presets: `configs/<algo>/<env>.yaml`, chosen by algorithm and environment.

Environments without one have that of their family, `configs/families/<family>.yaml`.
`configs/style/` contains presets for any environment, chosen by name:
`-c style/openai`.
"""

from pathlib import Path

from pgcli.config.source import families

_PACKAGE = Path(__file__).resolve().parents[2]


def directory() -> Path | None:
    """Directory of the presets: inside the wheel, or next to the package."""
    for path in (_PACKAGE / "_configs", _PACKAGE.parent / "configs"):
        if path.is_dir():
            return path
    return None


def file_name(env_id: str) -> str:
    """File name of an environment's preset: `func-X-v1.yaml` for `func:X-v1`."""
    return env_id.replace(":", "-").replace("/", "-") + ".yaml"


def find(algo: str, env_id: str, root: Path | None = None) -> Path | None:
    """The preset of an algorithm and an environment, or of its family, or None."""
    root = directory() if root is None else root
    if root is None or not env_id.isprintable() or len(env_id) > 200:
        return None
    paths = [root / algo / file_name(env_id)]
    if (family := families.find(env_id)) is not None:
        paths.append(root / families.FOLDER / f"{family}.yaml")
    return next((path for path in paths if path.is_file()), None)


def has_own(env_id: str, root: Path | None = None) -> bool:
    """Whether any algorithm has a preset of an environment."""
    return any(path.name == file_name(env_id) for path in available(root))


def named(name: str, root: Path | None = None) -> Path | None:
    """The preset `directory/environment`, such as `trpo/CartPole-v1`, or None."""
    folder, _, env_id = name.partition("/")
    stem = file_name(env_id).removesuffix(".yaml")
    known = {name_of(path): path for path in available(root)}
    return known.get(f"{folder}/{stem}")


def name_of(path: Path) -> str:
    """Name of a preset: `directory/stem`."""
    return f"{path.parent.name}/{path.stem}"


def available(root: Path | None = None) -> list[Path]:
    """All presets, sorted; files of sweeps are none."""
    root = directory() if root is None else root
    paths = [] if root is None else sorted(root.glob("*/*.yaml"))
    return [path for path in paths if path.parent.name != "sweeps"]
