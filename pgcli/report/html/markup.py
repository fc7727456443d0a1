"""HTML from elements, in which all text is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

VOID = {"img", "link", "meta"}


class Html(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *content: str, **attributes: str | bool) -> Html:
    """An element; content that is not `Html` is escaped.

    In names of attributes `_` stands for `-`, and a last one is dropped (`class_`);
    True is one without a value, False none.
    """
    opening = name
    for key, value in attributes.items():
        if value is not False:
            opening += " " + key.rstrip("_").replace("_", "-")
            opening += "" if value is True else f'="{escape(str(value))}"'
    if name in VOID:
        return Html(f"<{opening}>")
    return Html(f"<{opening}>{joined(content)}</{name}>")


def joined(content: Iterable[str]) -> Html:
    """Elements and text after each other; the text is escaped."""
    parts = (x if isinstance(x, Html) else escape(x) for x in content)
    return Html("".join(parts))


def table(
    rows: Iterable[Sequence[str]], head: Sequence[str] = (), css: str = "wide"
) -> Html:
    """A table that scrolls by itself; the first cell of each row is its heading.

    With the class `stack`, the cells of a row are below each other on a phone, with the
    names of their columns.
    """
    names = head or [""] * max(map(len, rows := list(rows)), default=0)
    body = [
        element(
            "tr",
            element("th", row[0], scope="row"),
            *(
                element("td", cell, data_name=css == "stack" and name)
                for name, cell in zip(names[1:], row[1:], strict=True)
            ),
        )
        for row in rows
    ]
    top = element("tr", *(element("th", cell, scope="col") for cell in head))
    parts = [element("thead", top)] * bool(head) + [element("tbody", *body)]
    # the keyboard scrolls only what it can reach
    return element("div", element("table", *parts), class_=css, tabindex="0")


def prose(text: str) -> Html:
    """Text whose parts between backticks are code."""
    parts = text.split("`")
    return joined(element("code", x) if i % 2 else x for i, x in enumerate(parts))


def section(title: str, *content: str) -> Html:
    """A section with its heading; empty without content."""
    if not any(content):
        return Html()
    return element("section", element("h2", title), *content)


def folded(title: str, *content: str, unfolded: bool = False) -> Html:
    """Content below a title that a click unfolds."""
    return element("details", element("summary", title), *content, open=unfolded)
