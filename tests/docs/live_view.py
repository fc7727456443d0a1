"""Draws `docs/images/live-view.svg`: a frame of a real training run on a terminal.

    $ python tests/docs/live_view.py

Takes about ten seconds. Run it again after a change to the live view.
"""

import io
import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[2] / "docs" / "images" / "live-view.svg"
COLUMNS, ROWS = 84, 24
COMMAND = ["train", "--steps", "300000", "--name", "first"]
SHOWN = 0.6
"""Share of the budget in the frame that is drawn."""

FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" role="img" \
xmlns="http://www.w3.org/2000/svg">
<title>pgcli train, during training</title>
<style>
.{unique_id}-matrix {{ font-family: ui-monospace, "SF Mono", Menlo, Consolas, \
"DejaVu Sans Mono", monospace; font-size: {char_height}px; line-height: \
{line_height}px; white-space: pre }}
.{unique_id}-title {{ font: 16px system-ui, "DejaVu Sans", sans-serif }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>{lines}</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" \
clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""
"""Rich's format without fonts from the network."""


def terminal_output() -> str:
    """What `pgcli train` writes to a terminal, from start to end."""
    master, slave = pty.openpty()
    size = {"COLUMNS": str(COLUMNS), "LINES": str(ROWS), "TERM": "xterm-256color"}
    with tempfile.TemporaryDirectory() as directory:
        process = subprocess.Popen(
            [sys.executable, "-m", "pgcli", *COMMAND],
            cwd=directory,
            env=os.environ | size,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        chunks = []
        while True:
            try:
                chunk = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            chunks.append(chunk)
        if process.wait() != 0:
            raise SystemExit(b"".join(chunks).decode())
    return b"".join(chunks).decode()


def frames(output: str) -> list[str]:
    """Each state of the view; a new one begins where the cursor goes back up."""
    parts = re.split(r"(?:\r?\x1b\[2K|\x1b\[1A)+", output.replace("\r\n", "\n"))
    return [part.strip("\r\n") for part in parts]


def share(frame: str) -> float:
    """The share of the budget that a frame shows."""
    found = re.search(r" (\d+)% ", Text.from_ansi(frame).plain)
    return int(found[1]) / 100 if found else 0.0


def main() -> None:
    """Trains, picks a frame and draws it below the command."""
    first, *rest = frames(terminal_output())
    frame = min([first, *rest], key=lambda frame: abs(share(frame) - SHOWN))
    above = first.splitlines()[0]  # the source of the configuration
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    console.print(Text(f"$ pgcli {' '.join(COMMAND)}", style="bold"))
    console.print(Text.from_ansi(f"{above}\n{frame}"), no_wrap=True)
    svg = console.export_svg(title="pgcli", code_format=FORMAT, unique_id="live")
    PICTURE.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
