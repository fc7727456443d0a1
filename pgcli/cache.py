"""Where things that can be made again are kept between processes."""

import os
from pathlib import Path


def cache_directory() -> Path | None:
    """The user's cache of pgcli; None if it is switched off.

    `PGCLI_CACHE` names another directory; an empty value switches the cache off.
    """
    chosen = os.environ.get("PGCLI_CACHE")
    if chosen is not None:
        return Path(chosen) if chosen else None
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pgcli"
