"""How large the elements of each layer are: a row of bars for its weights, one for their gradient."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Histogram
from gradscope.report.html.markup import NOTHING, Frame, Html, code, details, table, tag
from gradscope.report.html.plots import thinned
from gradscope.report.html.profile import room
from gradscope.report.html.scales import power, short
from gradscope.report.shared import units

MOST_ROWS = 100
"""Of more layers those at even distances are drawn; the table has all."""
KINDS = ("weight", "gradient")


def histograms(found: Sequence[Histogram], frame: Frame) -> Html:
    by_kind = {kind: [each for each in found if each.of == kind] for kind in KINDS}
    shown = {kind: ends(each) for kind, each in by_kind.items() if each}
    count = max((len(each) for each in by_kind.values()), default=0)
    if not shown:
        return NOTHING
    places = thinned(count, MOST_ROWS)
    names = [by_kind[next(iter(shown))][place].layer for place in places]
    rows = (
        tag(
            "li",
            tag("span", tag("bdi", name, dir="ltr"), class_="name"),
            *(_bars(by_kind[kind][place], shown[kind]) for kind in shown),
        )
        for name, place in zip(names, places, strict=True)
    )
    head = tag(
        "li", tag("span"), *(_axis(kind, shown[kind]) for kind in shown), class_="axes", aria_hidden="true"
    )
    text = "Elements by their absolute value, in bins of half a decade; each row has its own height."
    if len(places) < count:
        text += f" {units.count(len(places))} of {units.counted(count, 'layer')} are drawn."
    figure = tag("figure", tag("ol", head, *rows), tag("figcaption", text), class_="bars", style=room(names))
    return frame.section("histograms", "How large weights and gradients are", figure, _twin(found))


def ends(found: Sequence[Histogram]) -> tuple[int, int]:
    """First bin and the one after the last, of all rows together, as whole decades."""
    filled = [each for each in found if each.counts]
    low = min((each.first for each in filled), default=-2)
    high = max((each.first + len(each.counts) for each in filled), default=2)
    return low - low % 2, high + high % 2


def _axis(kind: str, between: tuple[int, int]) -> Html:
    low, high = between
    decades = (high - low) // 2
    step = max(1, -(-decades // 4))
    ticks = (
        tag("i", power(low // 2 + decade), style=f"left:{short(100 * decade / decades)}%")
        for decade in range(0, decades + 1, step)
    )
    return tag("span", tag("b", f"|{kind}|"), *ticks, class_="axis")


def _bars(row: Histogram, between: tuple[int, int]) -> Html:
    low, high = between
    tallest = max(row.counts, default=1)
    outline = f"M{row.first - low} 10"
    for place, count in enumerate(row.counts, row.first - low):
        outline += f"V{short(10 - 9 * count / tallest)}H{place + 1}"
    label = summary(row)
    return tag(
        "svg",
        tag("title", label),
        tag("path", class_="grid", d=f"M0 10H{high - low}"),
        tag("path", class_=f"bar-{row.of}", d=f"{outline}V10z") if row.counts else NOTHING,
        viewBox=f"0 0 {high - low} 10",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
    )


def summary(row: Histogram) -> str:
    """`gradient of head: 640 elements, most from 10⁻³ to 10⁻²·⁵, 12% zero`."""
    parts = [f"{row.of} of {row.layer}: {units.counted(row.total, 'element')}"]
    if row.counts:
        mode = row.first + max(range(len(row.counts)), key=row.counts.__getitem__)
        parts.append(f"most from {_edge(mode)} to {_edge(mode + 1)}")
    if row.zeros:
        parts.append(f"{units.share(row.zeros / row.total)} zero")
    if row.nonfinite:
        parts.append(f"{units.counted(row.nonfinite, 'element')} not finite")
    return ", ".join(parts)


def _edge(place: int) -> str:
    return units.number(10.0 ** (place / 2))


def _twin(found: Sequence[Histogram]) -> Html:
    low, high = ends(found)
    rows = [
        [
            code(each.layer),
            each.of,
            units.count(each.zeros),
            *(
                units.count(each.counts[place - each.first])
                if 0 <= place - each.first < len(each.counts)
                else ""
                for place in range(low, high)
            ),
            units.count(each.nonfinite),
        ]
        for each in found
    ]
    titles = ["layer", "of", "zero", *(f"from {_edge(place)}" for place in range(low, high)), "not finite"]
    inner = table(titles, rows, caption="elements by their absolute value", words=[1])
    return details("The same numbers as a table", inner)
