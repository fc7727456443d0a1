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
        self._identity = run.identity()
        self._guard = Guard(run.curve_svg.name, warn)
        self._due = time.monotonic() + FIRST_SECONDS

    def refresh(self) -> None:
        """Draws the picture if it is due."""
        if time.monotonic() >= self._due:
            self.draw()

    def draw(self) -> None:
        """Draws the picture, if an episode has ended."""
        start = time.monotonic()
        self._guard(self._write)
        end = time.monotonic()
        self._due = end + (end - start) / SHARE

    def _write(self) -> None:
        text = curves.picture(self._run, self._config)
        # never into a directory that this run did not make
        if text is not None and self._run.identity() == self._identity:
            files.replace_bytes(self._run.curve_svg, text.encode())
