"""Files of a configuration: those of `-c`, each after the preset in its `base`."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pgcli.config.errors import Issue
from pgcli.config.source import presets, yaml_file
from pgcli.config.source.document import PRESET, Document
from pgcli.suggest import did_you_mean

LOWEST, FILE = 1, 2
"""Ranks of the chosen preset and of files; those of the command line are higher."""

BASE = "base"
"""Key of a file that names the preset below it."""


def read_files(
    files: Sequence[Path], root: Path | None, issues: list[Issue]
) -> list[Document]:
    """The documents of files, or presets by their names; the later ones override."""
    documents: list[Document] = []
    for index, file in enumerate(files):
        rank = (FILE, 2 * index + 1)
        path = None if file.exists() else presets.named(str(file), root)
        if path is not None:
            document = read_preset(path, rank)
        else:
            document = yaml_file.read(
                file, origin=str(file), where=str(file), rank=rank
            )
            if not file.exists():
                help = _instead_of(file, root)
                document.issues = [replace(each, help=help) for each in document.issues]
            base = _base(document, root, (FILE, 2 * index))
            documents += [] if base is None else [base]
        documents.append(document)
    for document in documents:
        issues += document.issues
    return documents


def _instead_of(file: Path, root: Path | None) -> str | None:
    """The remedy for a missing file: a preset, or a file of similar name."""
    known = [presets.name_of(path) for path in presets.available(root)]
    stem = presets.file_name(str(file)).removesuffix(".yaml")
    if same := [name for name in known if name.partition("/")[2] == stem]:
        return (
            f"its presets are {', '.join(same)}; `--env {file}` takes that of the "
            "algorithm"
        )
    if same := [name for name in known if name.replace("/", "-") == stem]:
        return f"the preset is `-c {same[0]}`"
    here = [str(path) for path in file.parent.glob("*.y*ml")]
    return did_you_mean(str(file), [*here, *known], None)


def read_preset(path: Path, rank: tuple[int, int] = (LOWEST, 0)) -> Document:
    """The document of a preset."""
    name = presets.name_of(path)
    where = f"configs/{name}.yaml"
    return yaml_file.read(path, origin=f"{PRESET}{name}", where=where, rank=rank)


def _base(
    document: Document, root: Path | None, rank: tuple[int, int]
) -> Document | None:
    """The preset that a file names as its base; the key is removed from the file."""
    name = (document.tree or {}).pop(BASE, None)
    path = presets.named(name, root) if isinstance(name, str) else None
    if name is not None and path is None:
        known = [presets.name_of(path) for path in presets.available(root)]
        help = did_you_mean(str(name), known, "`base: ppo2/CartPole-v1` names one")
        message = f"there is no preset `{name}`"
        document.complain(message, document.values.get((BASE,)), help)
    return None if path is None else read_preset(path, rank)
