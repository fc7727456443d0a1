"""Markdown on a terminal: tables that do not fit, links, code."""

import io
import re
from collections.abc import Callable
from typing import Any

import pytest

from pgcli.cli import algorithm_pages as pages
from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.markdown import narrow_tables, render
from pgcli.config.algorithms import ALGORITHM_CONFIGS

TABLE = """\
| Key | Default | Effect |
|---|---|---|
| `lr` | `0.1` | step length |
| `eps` | | small |"""


class Screen(io.StringIO):
    """A terminal in memory."""

    def isatty(self) -> bool:
        return True


def plain(text: str) -> str:
    """Text without colours, styles and targets of links."""
    return re.sub(r"\x1b\[[0-9;]*m|\x1b\]8;[^\x1b]*\x1b\\", "", text)


def test_table_that_fits_stays_a_table() -> None:
    # columns of 3, 7 and 11 cells, with 2 cells of padding each: 27
    assert narrow_tables(TABLE, 27) == TABLE


def test_table_that_does_not_fit_becomes_a_list() -> None:
    wide = TABLE.replace("Default", "D" * 30)
    item = ["- **`lr`**\\", f"  *{'D' * 30}*: `0.1`\\", "  *Effect*: step length"]
    last = ["- **`eps`**\\", "  *Effect*: small"]
    text = f"a\n\n{wide}\n\nb"
    assert narrow_tables(text, 30).splitlines() == ["a", "", *item, *last, "", "b"]


def test_short_cells_of_a_list_share_a_line() -> None:
    # `Default: 0.1 · Effect: step length`: 12 + 3 + 19 = 34 cells behind an indent of 3
    table = TABLE.replace("Key", "K" * 30)
    assert "`0.1` · *Effect*" in narrow_tables(table, 37)
    assert "`0.1`\\\n  *Effect*" in narrow_tables(table, 36)


def test_lines_of_code_are_no_table_and_are_not_wrapped() -> None:
    code = f"```text\n{TABLE}\n\n  {'x ' * 30}y\n```"
    assert narrow_tables(code, 10) == code
    lines = plain(render(code, 20, color=True)).splitlines()
    assert lines[0] == "  | Key | Default | Effect |"
    assert lines[-1] == f"    {'x ' * 30}y"


def test_links_to_files_lose_their_target() -> None:
    text = "[`ppo2`](ppo2.md) of [arXiv](https://arxiv.org/abs/1707.06347)"
    out = render(text, 80, color=True)
    assert plain(out) == "ppo2 of arXiv"
    assert "https://arxiv.org/abs/1707.06347" in out
    assert "ppo2.md" not in out


def test_without_colour_there_are_only_styles() -> None:
    colored = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    text = "## Heading\n\n`code`"
    assert colored.search(render(text, 80, color=True))
    out = render(text, 80, color=False)
    assert not colored.search(out)
    assert "\x1b[1m" in out


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", [*ALGORITHM_CONFIGS, "README"])
def test_pages_fit_a_terminal(name: str, width: int) -> None:
    lines = plain(render(pages.read(name).text, width, color=True)).splitlines()
    combining = str.maketrans("", "", "\u0302")  # the hat of R̂
    assert max(len(line.translate(combining)) for line in lines) <= width


def test_index_is_a_table_on_80_columns() -> None:
    out = plain(render(pages.read("README").text, 80, color=True))
    assert re.search(r"^ reinforce +the whole return ", out, re.M)


@pytest.mark.parametrize(
    ("environ", "options", "formatted"),
    [
        ({"TERM": "xterm"}, {}, True),
        ({"TERM": "dumb"}, {}, False),
        ({"TERM": "xterm"}, {"json": True}, False),
    ],
)
def test_results_are_formatted_for_a_terminal(
    environ: dict[str, str], options: dict[str, bool], formatted: bool
) -> None:
    flags = dict.fromkeys(("quiet", "verbose", "no_color", "json", "debug"), False)
    terminal = Terminal(Screen(), io.StringIO(), environ)
    terminal.configure(**{**flags, **options})
    assert terminal.formats is formatted
    assert not Terminal(io.StringIO(), Screen(), environ).formats


def test_explain_formats_on_a_terminal(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Terminal, "formats", True)
    out = run("explain", "ppo1").out
    assert "\x1b[" in out
    assert plain(out).startswith("ppo1: proximal policy optimisation")
