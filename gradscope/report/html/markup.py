"""Elements of a page. A string is escaped where it enters one, unless it is markup already.

Forgetting to escape is a type error of sorts: what a user's model or file gave is a `str`, only `tag` and
`joined` make `Html`, and the two words never mix by accident.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gradscope.language import heading, translate
from gradscope.report.shared.glyphs import visible

AS_IT_IS = frozenset(("code", "style", "script", "pre"))
"""Elements in which nothing is translated."""
TITLES = frozenset(
    ("summary", "caption", "dt", "b", "i", "h1", "h2", "h3", "h4", "h5", "h6", "title", "td", "span")
)
"""Elements in which a single word is one of ours, not a name."""
SPOKEN = frozenset(("aria_label", "title", "alt"))
"""Attributes that are read or shown to people."""
EMPTY = frozenset(("meta", "path", "rect", "use"))
"""Written as `<path/>` where nothing is in them."""


class Html(str):
    """Markup."""

    __slots__ = ()


NOTHING = Html("")


def escaped(raw: str) -> Html:
    """Text that shows what it holds: marks of HTML, control and bidirectional characters are spelled out."""
    return raw if isinstance(raw, Html) else Html(html.escape(visible(raw), quote=True))


def joined(parts: Iterable[str], between: str = "") -> Html:
    return Html(between.join(escaped(each if isinstance(each, Html) else translate(each)) for each in parts))


def tag(name: str, /, *children: str, **attributes: str | int | None) -> Html:
    """An element; `class_` stands for `class`, `aria_label` for `aria-label`; `None` leaves one out."""
    head = name
    if name in AS_IT_IS:
        children = tuple(map(escaped, children))
    else:
        said = heading if name in TITLES or attributes.get("scope") == "col" else translate
        children = tuple(each if isinstance(each, Html) else said(each) for each in children)
    for key, value in attributes.items():
        if value is not None:
            value = translate(str(value)) if key in SPOKEN else value
            # viewBox and its like have no underscore: they pass as they are.
            head += f' {key.rstrip("_").replace("_", "-")}="{escaped(str(value))}"'
    if name in EMPTY and not children:
        return Html(f"<{head}/>")
    return Html(f"<{head}>{joined(children)}</{name}>")


def code(value: object, **attributes: str | int | None) -> Html:
    return tag("code", str(value), **attributes)


def prose(text: str) -> Html:
    """A sentence of ours in which names stand between backticks."""
    parts = translate(text).split("`")
    if len(parts) % 2 == 0:  # a name holds a backtick: nothing says which are a pair
        return escaped(translate(text))
    return joined(code(part) if place % 2 else escaped(part) for place, part in enumerate(parts))


@dataclass(frozen=True, slots=True)
class Frame:
    """Where on a page something stands: how its ids begin, and the level of its headings."""

    prefix: str = ""
    level: int = 1

    def id(self, name: str) -> str:
        return self.prefix + name

    def heading(self, below: int, *children: str, **attributes: str | int | None) -> Html:
        """A heading that many levels below that of the report."""
        return tag(f"h{min(6, self.level + below)}", *children, **attributes)

    def section(self, name: str, title: str, *children: str) -> Html:
        """A landmark with its heading; nothing where it would be empty."""
        if not any(children):
            return NOTHING
        label = self.id(f"{name}-title")
        return tag(
            "section",
            self.heading(1, title, id=label, class_="title"),
            *children,
            id=self.id(name),
            class_=name,
            aria_labelledby=label,
        )


def details(summary: str, *children: str, open: bool = False) -> Html:
    return tag("details", tag("summary", summary), *children, open="" if open else None)


def table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, caption: str, words: Sequence[int] = ()
) -> Html:
    """The first cell of a row is its head; columns of numbers stand right, those in `words` left."""
    left = {0, *words}
    head = [tag("th", t, scope="col", class_="w" if i in left else None) for i, t in enumerate(titles)]
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            *(tag("td", cell, class_="w" if i in left else None) for i, cell in enumerate(row[1:], 1)),
        )
        for row in rows
    ]
    return scrolled(caption, tag("thead", tag("tr", *head)), tag("tbody", *body))


def scrolled(caption: str, *parts: str, kind: str = "") -> Html:
    """A table that is moved by itself where it is wider than the page, by keyboard too."""
    inner = tag("table", tag("caption", caption, class_="unseen"), *parts)
    return tag("div", inner, class_=f"scroll {kind}".strip(), tabindex=0, role="region", aria_label=caption)


EDGE = 5.0
"""Percent of an axis within which a label would leave the drawing if it stood in the middle of its tick."""


def tick(label: str, place: float, at: str) -> Html:
    """The label of a tick on a horizontal axis; `at` is its place as text."""
    edge = "start" if place < EDGE else "end" if place > 100 - EDGE else None
    return tag("i", label, style=f"left:{at}%", class_=edge)


def listed(title: str, value: str) -> Html:
    """One fact of a `dl`."""
    return tag("div", tag("dt", title), tag("dd", value))
