"""Videos of runs, embedded in a page."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pgcli.report.html.markup import Html, element, section
from pgcli.storage.run_directory import RunDirectory

TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}
"""Kinds of videos that browsers show, by the end of the file's name."""

MOST_BYTES = 12 << 20
"""Bytes of all videos of a page: with the rest, a page that can be sent by mail."""


class Video(NamedTuple):
    """The newest video of a run; `embedded` unless the page would become too large."""

    run: str
    path: Path
    size: int
    embedded: bool


def find(runs: Sequence[RunDirectory]) -> list[Video]:
    """The newest video of each run: in its directory, or where `pgcli video` writes."""
    videos, left = [], MOST_BYTES
    for run in runs:
        paths = [
            *(path for end in TYPES for path in run.path.glob(f"*{end}")),
            *(path for end in TYPES if (path := Path(f"{run.name}{end}")).is_file()),
        ]
        if paths:
            newest = max(paths, key=lambda path: path.stat().st_mtime)
            size = newest.stat().st_size
            fits = size <= left
            videos.append(Video(run.name, newest, size, fits))
            left -= size if fits else 0
    return videos


def films(videos: Sequence[Video]) -> Html:
    """The section of the videos."""
    return section("Video", *(_film(video) for video in videos))


def _film(video: Video) -> Html:
    size = f"{video.size / 2**20:.1f} MiB"
    caption = f"{video.run}: {video.path.name}, {size}"
    if not video.embedded:
        limit = f"{MOST_BYTES >> 20} MiB"
        return element(
            "p",
            f"{caption}, is left out: the videos of a page have at most {limit}. "
            "A shorter one: ",
            element("code", f"pgcli video {video.run} --episodes 1 -o {video.run}.mp4"),
        )
    kind = TYPES[video.path.suffix]
    data = base64.b64encode(video.path.read_bytes()).decode()
    source = f"data:{kind};base64,{data}"
    shown = (
        element("img", src=source, alt=caption)
        if kind.startswith("image")
        else element("video", src=source, controls=True, loop=True, playsinline=True)
    )
    return element("figure", shown, element("small", caption), class_="films")
