"""A bar for each layer, in pieces, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradscope.report.html.markup import Html, tag
from gradscope.report.html.profile import room
from gradscope.report.html.scales import short

MOST_BARS = 60
WIDTH = 100.0


@dataclass(frozen=True)
class BarPiece:
    about: str
    share: float
    """Of the whole width."""
    shade: int
    """0 or less: the lightest."""


@dataclass(frozen=True)
class LayerBar:
    name: str
    label: str
    pieces: Sequence[BarPiece]


def layer_bars(bars: Sequence[LayerBar], caption: str) -> Html:
    rows = (
        tag("li", tag("span", tag("bdi", each.name, dir="ltr"), class_="name"), _bar(each)) for each in bars
    )
    names = [each.name for each in bars]
    return tag(
        "figure", tag("ol", *rows), tag("figcaption", caption), class_="heat memory", style=room(names)
    )


def _bar(found: LayerBar) -> Html:
    left, drawn = 0.0, []
    for piece in found.pieces:
        width, shade = WIDTH * piece.share, f"s{max(1, piece.shade)}"
        about = tag("title", piece.about)
        drawn.append(tag("rect", about, x=short(left), width=short(width), height=1, class_=shade))
        left += width
    return tag(
        "svg",
        tag("title", found.label),
        *drawn,
        viewBox=f"0 0 {short(WIDTH)} 1",
        preserveAspectRatio="none",
        role="img",
    )
