"""Files that are generated from the code and kept in the repository."""

import os
from pathlib import Path

UPDATE = "PGCLI_UPDATE_GOLDEN"


def check_generated(path: Path, expected: str) -> None:
    """Compares a file with its text as it would be generated, or writes it."""
    if os.environ.get(UPDATE):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(expected, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == expected
