"""The live view as lines of styled text for any width; pure, without a terminal."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

from pgcli.cli.terminal.formatting import NOTHING, clock, number, short

if TYPE_CHECKING:
    from pgcli.training.reporter import RunInfo, Status

Line = list[tuple[str, str]]
MAX_BAR = 40
MIN_BAR = 8
TWO_COLUMNS = 76
LABEL = 16
LEFT_COLUMN = 36
RIGHT_LABEL = 8
NUMBER = 8
SPARK_CELLS = 10
SPARKS = "▁▂▃▄▅▆▇█"
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII = str.maketrans(
    "━╸─·×–…" + SPARKS + SPINNER, "##-|x-." + "_.-~=+*#" + "-\\|/-\\|/-\\"
)


@dataclass
class Frame:
    """Contents of the view; written by training, read by the drawing thread."""

    info: "RunInfo | None" = None
    status: "Status | None" = None
    saved_iteration: int | None = None
    compiling_since: float | None = None
    evaluating: tuple[int, int] | None = None
    left: float | None = None
    closed: bool = False
    returns: list[float] = field(default_factory=list)

    def update(self, status: "Status") -> None:
        """Stores the numbers of a report."""
        self.status = status
        self.compiling_since = self.evaluating = None
        self.left = seconds_left(status)
        if status.last_saved_iteration is not None:
            self.saved_iteration = status.last_saved_iteration
        value = status.metrics.get("return_mean")
        if value is not None:
            self.returns.append(value)


def seconds_left(status: "Status") -> float | None:
    """Seconds to the end of a run; without evaluations if they are not known."""
    if status.left is not None or not status.steps_per_second:
        return status.left
    return max(0, status.budget - status.steps) / status.steps_per_second


def header(info: "RunInfo") -> str:
    """Title of a run: algorithm, environment, seed, device and network."""
    backend = f"{info.backend} ×{info.num_envs}"
    if info.helpers:
        backend += f", {info.helpers}"
    if info.action_mask:
        backend += f", valid actions by {info.action_mask}"
    seeds = f"seed {info.seed}"
    if info.members > 1:
        seeds = f"{info.members} runs from seed {info.seed}"
    device = info.accelerator + (f" ×{info.devices}" if info.devices > 1 else "")
    title = f"{info.algo} · {info.env} ({backend}) · {seeds} · {device}"
    return title + (f" · {info.parameters:,} parameters" if info.parameters else "")


def sparkline(values: Sequence[float], cells: int = SPARK_CELLS) -> str:
    """The curve of `values` as a text of at most `cells` characters."""
    count = min(cells, len(values))
    if count < 2:
        return ""
    edges = [len(values) * i // count for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    if not high > low:
        return SPARKS[3] * count
    top = len(SPARKS) - 1
    return "".join(SPARKS[round((m - low) / (high - low) * top)] for m in means)


def render(
    frame: Frame, width: int, *, unicode: bool = True, now: float | None = None
) -> list[Line]:
    """Lines of the view, at most `width` wide if the contents can be cut.

    Without `unicode`, bars are of ASCII. `now` is in monotonic seconds, for the
    spinner.
    """
    if frame.info is None:
        return []
    now = time.monotonic() if now is None else now
    lines = _head(frame.info, width)
    lines.append(_bar(frame, width, now))
    if frame.status is not None:
        lines += _numbers(frame, frame.status, width)
    if not unicode:
        lines = [[(x.translate(ASCII), style) for x, style in line] for line in lines]
    return lines


def _head(info: "RunInfo", width: int) -> list[Line]:
    title, path = header(info), str(info.path)
    room = width - len(title) - len(path) - 1
    if room >= 2:
        return [[(title, "bold"), (" " * room, ""), (path, "dim")]]
    return [[(title, "bold")], [(path, "dim")]]


def _bar(frame: Frame, width: int, now: float) -> Line:
    status, waiting = frame.status, ""
    if frame.compiling_since is not None:
        seconds = now - frame.compiling_since
        turn = SPINNER[int(seconds * 8) % len(SPINNER)]
        waiting = f"{turn} compiling… {seconds:.0f} s"
    if status is None:
        return [(waiting or "starting…", "cyan")]
    # 100 % only once nothing runs any more
    done = min(1.0 if frame.closed else 0.99, status.steps / max(1, status.budget))
    percent = f"{math.floor(100 * done + 1e-9)}%"
    waiting = waiting or f"{clock(frame.left)} left"
    if frame.evaluating is not None:
        waiting = "evaluating {}/{}".format(*frame.evaluating) + f"  {waiting}"
    text = f"{percent:>4}  {status.steps:,}/{status.budget:,} steps  {waiting}"
    cells = min(MAX_BAR, width - len(text) - 3)
    if cells < MIN_BAR:
        steps = f"{short(status.steps)}/{short(status.budget)}"
        return [(f"{percent}  {steps}  {waiting}", "")]
    full = int(done * cells)
    half = "╸" if done * cells - full >= 0.5 else ""
    empty = cells - full - len(half)
    return [("━" * full + half, "green"), ("─" * empty, "dim"), (f" {text}", "")]


def _numbers(frame: Frame, status: "Status", width: int) -> list[Line]:
    # texts of optional parts
    metrics = status.metrics
    best = (
        f" · best eval {_fitting(status.best_eval)}"
        if status.best_eval is not None
        else ""
    )
    saved = (
        NOTHING
        if frame.saved_iteration is None
        else f"iteration {frame.saved_iteration}"
    )
    clip = metrics.get("clip_fraction")
    policy = [
        f"kl {short(metrics.get('kl'))}",
        f"entropy {short(metrics.get('entropy'))}",
    ]
    if clip is not None:
        policy.insert(1, f"clip {clip:.0%}")
    value = [
        f"loss {short(metrics.get('value_loss'))}",
        f"explained var. {number(metrics.get('explained_variance'), 2)}",
    ]

    # (label, text) of both columns, stacked on a narrow terminal
    episode_return = _fitting(metrics.get("return_mean")).ljust(NUMBER)
    left = [
        ("episode return", f"{episode_return} {sparkline(frame.returns)}"),
        ("episode length", _fitting(metrics.get("length_mean"))),
        ("steps/s", short(status.steps_per_second)),
    ]
    right = [
        ("policy", "  ".join(policy)),
        ("value", "  ".join(value)),
        ("saved", saved + best),
    ]
    if width < TWO_COLUMNS:
        return [_cell(name, text, LABEL) for name, text in [*left, *right]]
    return [
        [*_cell(a, b, LABEL, LEFT_COLUMN - LABEL), *_cell(c, d, RIGHT_LABEL)]
        for (a, b), (c, d) in zip(left, right, strict=True)
    ]


def _cell(name: str, text: str, label: int, width: int = 0) -> Line:
    return [(f" {name}".ljust(label), "dim"), (text.ljust(width), "")]


def _fitting(value: float | None) -> str:
    text = number(value)
    return text if len(text) <= NUMBER else short(value)
