"""The shades of a heat map, lightest first: classes of the sheet, and the legend that shows them."""

from __future__ import annotations

from gradscope.report.html.markup import Html, tag

SHADES = 9
NO_SHADE = "s0"
"""Of zero, which has no place on a log scale."""
BROKEN = "broken"
UNMEASURED = "unmeasured"


def shade(place: float) -> str:
    """Of a place in [0, 1]."""
    return f"s{1 + min(SHADES - 1, int(place * SHADES))}"


def ramp(low: str, high: str) -> Html:
    """All shades between the numbers of the two ends."""
    swatches = (tag("i", class_=f"s{number}") for number in range(1, SHADES + 1))
    shown = tag("span", *swatches, class_="ramp", aria_hidden="true")
    return tag("span", f"{low} ", shown, f" {high}", class_="legend")
