"""Suggestions for misspelt names."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import TypeVar

Otherwise = TypeVar("Otherwise", bound=str | None)


def similar(
    word: str, known: Iterable[str], count: int = 1, cutoff: float = 0.6
) -> list[str]:
    """The known names most similar to a word, the most similar first.

    Case and the difference between `-` and `_` are ignored.

    Args:
      word: the name to look up.
      known: the names to choose from.
      count: maximum number of names to return.
      cutoff: minimum similarity in [0, 1], see `difflib.get_close_matches`.
    """
    names = {_fold(name): name for name in reversed(list(known))}
    return [
        names[close] for close in get_close_matches(_fold(word), names, count, cutoff)
    ]


def did_you_mean(
    word: str, known: Iterable[str], otherwise: Otherwise, count: int = 1
) -> str | Otherwise:
    """The help for an unknown name: similar known names, or `otherwise` without any."""
    close = similar(word, known, count)
    if not close:
        return otherwise
    return f"did you mean {' or '.join(f'`{name}`' for name in close)}?"


def _fold(name: str) -> str:
    return name.lower().replace("_", "-")
