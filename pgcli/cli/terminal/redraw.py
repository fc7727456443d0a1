"""Lines redrawn in place on stderr, below the messages."""

from collections.abc import Callable, Sequence
from typing import Any

from pgcli.cli.terminal.console import Terminal

Line = Sequence[tuple[str, str]]
"""Parts of a line: text and style."""

FRAMES_PER_SECOND = 8


class Redrawn:
    """Lines that a thread of rich redraws from `start` to `stop`."""

    def __init__(
        self, terminal: Terminal, render: Callable[[int], Sequence[Line]]
    ) -> None:
        """Draws nothing yet; `render` makes the lines for a width."""
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._terminal, self._lines, self._text = terminal, render, Text

        # the console writes through `terminal.err`, which never blocks
        class SteadyConsole(Console):
            """A console that never hides the cursor: a kill would leave it hidden."""

            def show_cursor(self, show: bool = True) -> bool:
                """Does nothing."""
                return False

        self._console = SteadyConsole(
            file=terminal.err,  # type: ignore[arg-type]
            force_terminal=True,
            no_color=not terminal.color,
            highlight=False,
            markup=False,
            emoji=False,
        )
        self._live = Live(
            get_renderable=self._render,
            console=self._console,
            refresh_per_second=FRAMES_PER_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def start(self) -> None:
        """Starts drawing; messages are printed above the lines."""
        self._live.start()
        self._terminal.print_above = self._print_above

    def stop(self) -> None:
        """Draws the last state, which stays on the terminal."""
        self._terminal.print_above = None
        if self._live.is_started:
            self._live.stop()

    def _print_above(self, text: str) -> None:
        self._console.print(self._text.from_ansi(text))

    def _render(self) -> Any:
        lines = self._lines(self._console.width)
        newline = self._text("\n", no_wrap=True, overflow="ellipsis")
        return newline.join(self._text.assemble(*line) for line in lines)
