"""The live view at any width, and the lines off a terminal."""

import io
import re

import pytest
from support import fake_training

from pgcli.cli.terminal.console import Terminal
from pgcli.cli.terminal.formatting import clock, number, short
from pgcli.cli.terminal.live_frame import Frame, render, sparkline
from pgcli.cli.terminal.live_view import (
    EpisodeLines,
    LineReporter,
    LiveReporter,
    progress_line,
    reporting,
)
from pgcli.training.advice import Advisor


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


def frame() -> Frame:
    """A run at 61 %, a rising return behind it."""
    view = Frame(info=fake_training.info())
    for part in range(1, 62):
        view.update(fake_training.status(part * 5_000))
    return view


def text_of(view: Frame, width: int, **options: bool) -> list[str]:
    lines = render(view, width, now=0.0, **options)
    return ["".join(text for text, _ in line).rstrip() for line in lines]


VIEW_80 = """\
ppo2 · CartPole-v1 (host ×8) · seed 3 · cpu        runs/ppo2-CartPole-v1-k3f9wq
━━━━━━━━━━━━━━━━━━━━━╸──────────────  61%  305,000/500,000 steps  0:00:13 left
 episode return 297.6    ▁▂▃▃▄▅▆▆▇█  policy kl 0.008  clip 11%  entropy 0.568
 episode length 297.6                value  loss 8.31  explained var. 0.53
 steps/s        14.8k                saved  iteration 140 · best eval 471.2"""

VIEW_60_ASCII = """\
ppo2 | CartPole-v1 (host x8) | seed 3 | cpu
runs/ppo2-CartPole-v1-k3f9wq
##########------  61%  305,000/500,000 steps  0:00:13 left
 episode return 297.6    _.--~=++*#
 episode length 297.6
 steps/s        14.8k
 policy         kl 0.008  clip 11%  entropy 0.568
 value          loss 8.31  explained var. 0.53
 saved          iteration 140 | best eval 471.2"""


def test_view_at_80_columns() -> None:
    assert "\n".join(text_of(frame(), 80)) == VIEW_80


def test_view_names_who_helps_to_step() -> None:
    view = Frame(info=fake_training.info(helpers="2 workers"))
    assert "CartPole-v1 (host ×8, 2 workers) · seed 3" in text_of(view, 80)[0]


def test_view_in_ascii_at_60_columns() -> None:
    assert "\n".join(text_of(frame(), 60, unicode=False)) == VIEW_60_ASCII


@pytest.mark.parametrize("width", [80, 100, 120])
def test_view_fits_with_the_longest_numbers(width: int) -> None:
    view = frame()
    metrics = {
        "return_mean": -1_234_567.8,
        "length_mean": 123_456.7,
        "kl": 0.0123456,
        "clip_fraction": 1.0,
        "entropy": -12.345,
        "value_loss": 123_456.7,
        "explained_variance": -12.345,
    }
    view.update(fake_training.status(999, metrics=metrics, best_eval=-12_345.6))
    assert max(map(len, text_of(view, width))) <= width


def test_view_shows_the_spinner_until_the_first_progress() -> None:
    view = Frame(info=fake_training.info(), compiling_since=-3.0)
    assert text_of(view, 80)[1] == "⠼ compiling… 3 s"
    view.update(fake_training.status(5_000))
    assert "compiling" not in " ".join(text_of(view, 80))


def test_view_without_clip_fraction_does_not_show_it() -> None:
    view = Frame(info=fake_training.info(algo="a2c"))
    view.update(fake_training.status(5_000, metrics={"kl": 0.01, "entropy": 0.5}))
    assert "clip" not in " ".join(text_of(view, 80))


def test_sparkline_spans_lowest_to_highest() -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], cells=8) == "▁▂▃▄▅▆▇█"
    # two values a cell: means 0.5 and 4.5
    assert sparkline([0, 1, 4, 5], cells=2) == "▁█"
    assert sparkline([3, 3, 3]) == "▄▄▄"
    assert sparkline([3]) == ""


def test_progress_line_has_the_same_keys_from_the_first_row_on() -> None:
    first, last = (progress_line(fake_training.status(n)) for n in (256, 500_000))
    keys = [re.findall(r"(\w+)=\S+", line) for line in (first, last)]
    assert keys[0] == keys[1]
    assert "return=-" in first
    assert "return=475 " in last


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (0.0, "0.00"),
        (0.00812, "0.008"),
        (0.00001, "1e-05"),
        (8.314, "8.31"),
        (47.31, "47.3"),
        (412.6, "413"),
        (14_812, "14.8k"),
        (353_000, "353k"),
        (999_999, "1.0M"),
        (-1_234_567, "-1.2M"),
    ],
)
def test_short_number_in_few_characters(value: float | None, text: str) -> None:
    assert short(value) == text


def test_clock_and_number() -> None:
    assert clock(3 * 3600 + 5 * 60 + 7.4) == "3:05:07"
    assert clock(None) == "-:--:--"
    assert number(1234.56) == "1,234.6"


def test_live_view_prints_warnings_above_itself_and_leaves_the_last_state() -> None:
    screen = Screen()
    terminal = Terminal(None, screen, {"TERM": "xterm", "NO_COLOR": "1"})
    with reporting(terminal) as reporter:
        assert isinstance(reporter, LiveReporter)
        reporter.started(fake_training.info())
        reporter.progress(fake_training.status(5_000))
        reporter.warn("[not markup] a warning")
        reporter.progress(fake_training.status(500_000))
    terminal.err.drain()
    shown = screen.getvalue()
    assert "warning: [not markup] a warning" in shown
    assert shown.rindex("warning") < shown.rindex("500,000/500,000 steps")
    assert "\x1b[?25l" not in shown  # the cursor is never hidden


@pytest.mark.parametrize(
    ("environ", "quiet"), [({"TERM": "dumb"}, False), ({"TERM": "xterm"}, True)]
)
def test_no_redraw_on_a_dumb_terminal_or_when_quiet(
    environ: dict[str, str], quiet: bool
) -> None:
    screen = Screen()
    terminal = Terminal(None, screen, environ)
    terminal.quiet = quiet
    with reporting(terminal) as reporter:
        assert type(reporter) is LineReporter
        reporter.started(fake_training.info())
        reporter.progress(fake_training.status(5_000))
    terminal.err.drain()
    assert "\x1b" not in screen.getvalue()
    assert (screen.getvalue() == "") == quiet


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_color_is_honoured(environ: dict[str, str]) -> None:
    screen = Screen()
    terminal = Terminal(None, screen, environ)
    terminal.warn("x")
    terminal.err.drain()
    assert screen.getvalue() == "warning: x\n"


def test_color_marks_a_warning() -> None:
    screen = Screen()
    terminal = Terminal(None, screen, {"TERM": "xterm"})
    terminal.warn("x")
    terminal.err.drain()
    assert screen.getvalue() == "\x1b[1;33mwarning\x1b[0m: x\n"


def advice(metrics: dict[str, float | None], reports: int) -> list[str]:
    advisor = Advisor()
    return [text for _ in range(reports) for text in advisor.advise(metrics)]


def test_advice_comes_once_and_only_if_it_lasts() -> None:
    assert advice({"kl": 0.5}, 9) == []
    assert len(advice({"kl": 0.5}, 50)) == 1
    advisor = Advisor()
    mixed = [{"kl": 0.5}] * 9 + [{"kl": 0.01}] + [{"kl": 0.5}] * 9
    assert [text for metrics in mixed for text in advisor.advise(metrics)] == []


def test_advice_on_the_critic_is_silent_once_the_task_is_solved() -> None:
    # an error of 1 % of a return of 500 is 5, its loss 12.5
    poor = {"explained_variance": -1.3, "value_loss": 13.0, "return_mean": 500.0}
    assert len(advice(poor, 20)) == 1
    assert advice(poor | {"value_loss": 12.0}, 20) == []


def test_advice_sees_every_iteration_of_a_fast_chunk() -> None:
    """Of a chunk, the last row is shown; the first ten are those of an explosion."""
    screen = Screen()
    terminal = Terminal(None, screen, {})
    rows = [{"kl": 0.5}] * 10 + [{"kl": 0.01}]
    status = fake_training.status(10_000, metrics=rows[-1], rows=rows)
    LineReporter(terminal).progress(status)
    terminal.close(0)
    assert "the policy changes too much" in screen.getvalue()


def test_advice_counts_the_iterations_of_each_member() -> None:
    advisor = Advisor()
    rows = [{"member": i % 2, "seed": 7 + i % 2, "kl": 0.5} for i in range(19)]
    said = [text for row in rows for text in advisor.advise(row)]
    assert len(said) == 1  # the tenth of member 0; member 1 has nine
    assert said[0].startswith("seed 7: ")


def test_advice_on_a_low_effective_sample_size() -> None:
    assert advice({"ess": 0.2}, 50) == []
    assert "sample size 0.05" in advice({"ess": 0.05}, 10)[0]


@pytest.mark.parametrize(
    ("first", "later", "collapsed"),
    [
        (0.69, 0.006, True),  # discrete: below 1 % of log 2
        (0.69, 0.02, False),
        (1.42, -3.5, True),  # a density: 1.42 − log 100 = −3.19
        (1.42, -3.0, False),
        (8.5, -20.0, True),  # six actions: 8.5 − 6 · 4.61 = −19.1
        (8.5, -15.0, False),
    ],
)
def test_advice_on_an_entropy_that_collapses_before_anything_is_learned(
    first: float, later: float, collapsed: bool
) -> None:
    for gain, wrong in ((0.0, collapsed), (5.0, False)):
        advisor = Advisor()
        rows = [{"entropy": first, "return_mean": 20.0}]
        rows += [{"entropy": later, "return_mean": 20.0 + gain}] * 20
        said = [text for row in rows for text in advisor.advise(row)]
        assert bool(said) == wrong


def test_view_names_the_episodes_of_an_evaluation_and_the_time_left() -> None:
    view = frame()
    view.evaluating, view.left = (37, 100), 71.0
    assert "evaluating 37/100  0:01:11 left" in text_of(view, 120)[1]
    view.update(fake_training.status(310_000, left=95.0))
    assert "evaluating" not in text_of(view, 120)[1]
    assert "0:01:35 left" in text_of(view, 120)[1]


@pytest.mark.parametrize("width", [30, 80, 120])
def test_view_shows_100_percent_only_when_nothing_runs(width: int) -> None:
    view = frame()
    for steps in (499_999, 500_000, 500_224):
        view.update(fake_training.status(steps))
        assert "99%" in "\n".join(text_of(view, width))
    view.evaluating = (0, 100)
    assert "100%" not in "\n".join(text_of(view, width))
    view.evaluating, view.closed = None, True
    assert "100%" in "\n".join(text_of(view, width))


def test_lines_name_the_episodes_of_an_evaluation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    screen = Screen()
    terminal = Terminal(None, screen, {"NO_COLOR": "1"})
    reporter, lines = LineReporter(terminal), EpisodeLines(terminal)
    for done in (36, 37, 38):  # one line in each five seconds
        reporter.evaluating(done, 100, 71.0)
        lines(done, 100)
        now[0] += 3.0
    terminal.close(0)
    assert screen.getvalue().splitlines() == [
        "evaluating 36/100 left=0:01:11",
        "evaluating 38/100 left=0:01:11",
        "evaluating 38/100 left=0:00:10",  # 38 in 6 s
    ]
