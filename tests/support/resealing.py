"""Checkpoints with other content and right hashes, as an attacker would make them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pgcli.storage import manifest


def reseal(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the manifest and makes its own hash right again."""
    file = path / manifest.NAME
    tree = json.loads(file.read_bytes())
    del tree["sha256"]
    change(tree)
    body = json.dumps(tree, indent=1).encode() + b"\n"
    tree["sha256"] = manifest.sha256(body)
    file.write_bytes(json.dumps(tree, indent=1).encode() + b"\n")


def reseal_file(path: Path, name: str, data: bytes) -> None:
    """Replaces a file and makes every hash right again."""
    (path / name).write_bytes(data)
    entry = {"size": len(data), "sha256": manifest.sha256(data)}
    reseal(path, lambda tree: tree["files"].__setitem__(name, entry))
