"""The directory of data that later processes use again."""

import os
from pathlib import Path


def cache_directory() -> Path | None:
    """The user's cache directory of pgcli; None if caching is switched off.

    `PGCLI_CACHE` names another directory; an empty value switches the cache off.
    """
    chosen = os.environ.get("PGCLI_CACHE")
    if chosen is not None:
        return Path(chosen) if chosen else None
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pgcli"
