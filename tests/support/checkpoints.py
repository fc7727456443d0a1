"""What a checkpoint holds, for comparisons."""

import json
from pathlib import Path

from pgcli.storage import checkpoint, manifest


def digest(path: Path) -> dict[str, str]:
    """SHA-256 of each file of arrays, after the checkpoint has been verified."""
    checkpoint.load(path)
    files = json.loads((path / manifest.NAME).read_bytes())["files"]
    return {name: entry["sha256"] for name, entry in files.items()}
