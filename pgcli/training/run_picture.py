"""`curve.svg` of a run: its returns by steps, drawn again while it trains."""

import time
from collections.abc import Callable

from pgcli.config.schema import RunConfig
from pgcli.storage import curves, files
from pgcli.storage.loggers.write_errors import Guard
from pgcli.storage.run_directory import RunDirectory

FIRST_SECONDS = 10.0
"""Seconds of training before the first picture."""

SHARE = 1 / 400
"""Share of the time that drawing may take."""


class RunPicture:
    """Draws the logs of a run, seldom enough to cost nothing that one would notice."""

    def __init__(
        self, run: RunDirectory, config: RunConfig, warn: Callable[[str], None]
    ) -> None:
        """Draws nothing yet; a failure to write is reported once."""
        self._run, self._config = run, config
        self._guard = Guard(run.curve_svg.name, warn)
        self._due = time.monotonic() + FIRST_SECONDS

    def refresh(self) -> None:
        """Draws the picture if it is due."""
        if time.monotonic() >= self._due:
            self.draw()

    def draw(self) -> None:
        """Draws the picture, if an episode has ended."""
        start = time.monotonic()
        text = curves.picture(self._run, self._config)
        if text is not None:
            self._guard(lambda: files.replace_bytes(self._run.curve_svg, text.encode()))
        end = time.monotonic()
        self._due = end + (end - start) / SHARE
