"""The picture of the network: activation and δ over depth, a row for each layer, on log scales.

Both panels span as many decades, so that their slopes compare. The rows are text; behind them lie drawings
stretched over the rows, with strokes that do not stretch: names stay readable at every width, and a page of
print breaks between two blocks of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gradscope.records import Finding, Layer
from gradscope.report.html.markup import NOTHING, Frame, Html, joined, tag, tick
from gradscope.report.html.scales import Logarithmic, logarithmic, short
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import UNICODE

BLOCK = 32
"""Rows on one drawing: what a page of print holds."""
MOST_ROWS = 200
"""Beyond, all layers share one drawing of fixed height; the table has their rows."""
LABELS = 24
"""Names beside that drawing."""
BANDS = 100
"""Stretches of it that answer the pointer."""

Value = Callable[[Layer], float | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity over depth."""

    name: str
    kind: str
    """Class of its marks."""
    of: Value
    largest: Value
    scale: Logarithmic


def profile(layers: Sequence[Layer], flags: Mapping[str, Sequence[Finding]], frame: Frame) -> Html:
    """The figure; nothing where no layer has a value to show."""
    panels = _panels(layers)
    if not panels or len(layers) < 2:
        return NOTHING
    head = tag(
        "div",
        tag("span", "layer, input first", class_="name"),
        *(part for panel in panels for part in _axis(panel)),
        class_="head",
    )
    deep = len(layers) > MOST_ROWS
    body = _overview(layers, flags, panels, frame) if deep else _blocks(layers, flags, panels, frame)
    caption = _caption(layers, panels, deep, frame)
    return tag("figure", head, *body, caption, class_="profile", style=room(layer.name for layer in layers))


def room(names: Iterable[str]) -> str:
    """As much width as the longest name wants, and no more than leaves the drawing its own."""
    return f"--names:{min(25.0, 2 + 0.46 * max(map(len, names))):.3g}rem"


def _panels(layers: Sequence[Layer]) -> list[Panel]:
    found: list[tuple[str, str, Value, Value]] = [
        ("activation rms", "activation", lambda of: of.activation_rms, lambda of: of.activation_max),
        ("δ rms", "delta", lambda of: of.delta_rms, lambda of: of.delta_max),
    ]
    scales = [logarithmic(of(layer) for layer in layers) for _, _, of, _ in found]
    decades = max((scale.decades for scale in scales if scale), default=0)
    return [
        Panel(name, kind, of, largest, scale.widened(decades))
        for (name, kind, of, largest), scale in zip(found, scales, strict=True)
        if scale is not None
    ]


def _axis(panel: Panel) -> Iterator[Html]:
    ticks = (tick(label, place, short(place)) for place, label in panel.scale.ticks())
    yield tag("span", tag("b", panel.name), *ticks, class_="axis", aria_hidden="true")
    yield tag("span", "", class_="number")


def _blocks(
    layers: Sequence[Layer], flags: Mapping[str, Sequence[Finding]], panels: Sequence[Panel], frame: Frame
) -> Iterator[Html]:
    for start in range(0, len(layers), BLOCK):
        stop = min(start + BLOCK, len(layers))
        drawings = (
            _drawing(panel, layers, start, stop, place, _summary(layers, panel) if start == 0 else "")
            for place, panel in enumerate(panels)
        )
        rows = (_row(layers[i], i, flags.get(layers[i].name, ()), panels, frame) for i in range(start, stop))
        yield tag("div", *drawings, tag("ol", *rows, start=start + 1), class_="block")


def _row(layer: Layer, index: int, found: Sequence[Finding], panels: Sequence[Panel], frame: Frame) -> Html:
    cells = (
        part
        for panel in panels
        for part in (
            tag("span", ""),
            tag("span", units.cell(panel.of(layer)), class_=_class(panel.of(layer))),
        )
    )
    return tag("li", _name(layer, index, found, frame), *cells, title=_tip(layer, panels, found))


def _name(layer: Layer, index: int, found: Sequence[Finding], frame: Frame) -> Html:
    """Where it is cut, its end stays: that is what tells `blocks[3].mlp` from `blocks[4].mlp`."""
    link = tag("a", tag("bdi", layer.name, dir="ltr"), href=f"#{frame.id(f'l{index}')}")
    return tag("span", _mark(found), link, no_gradient(layer), class_="name")


def no_gradient(layer: Layer) -> Html:
    """Said of a layer whose whole gradient is exactly zero."""
    return tag("small", "gradient 0") if layer.gradient_max == 0 else NOTHING


def _class(value: float | None) -> str:
    return "number" if value is None or math.isfinite(value) else "number bad"


def _mark(found: Sequence[Finding]) -> Html:
    """The gravest severity of a layer, for the eye and for the ear."""
    if not found:
        return NOTHING
    gravest = min((finding.severity for finding in found), key=lambda severity: severity.rank).value
    mark = tag("span", UNICODE.marks[gravest], aria_hidden="true")
    return joined([tag("span", mark, tag("span", gravest, class_="unseen"), class_=gravest), " "])


def _tip(layer: Layer, panels: Sequence[Panel], found: Sequence[Finding]) -> str:
    parts = [layer.name]
    for panel in panels:
        text = f"{panel.name} {units.number(panel.of(layer))}"
        if panel.largest(layer) is not None:
            text += f", largest {units.number(panel.largest(layer))}"
        parts.append(text)
    return " · ".join([*parts, *dict.fromkeys(finding.rule for finding in found)])


def _drawing(
    panel: Panel,
    layers: Sequence[Layer],
    start: int,
    stop: int,
    column: int,
    summary: str = "",
    more: Sequence[Html] = (),
) -> Html:
    """Rows `start` to `stop`; the line goes on from the row before and to the one after."""
    grid = "".join(f"M{short(place)} 0V{stop - start}" for place, _ in panel.scale.ticks())
    line, dots, odd = _marks(panel, layers, start, stop)
    named = {"role": "img", "aria_label": summary} if summary else {"aria_hidden": "true"}
    return tag(
        "svg",
        *([tag("title", summary)] if summary else []),
        tag("path", class_="grid", d=grid),
        tag("path", class_=f"line {panel.kind}", d=line) if line else NOTHING,
        tag("path", class_=f"dots {panel.kind}", d=dots) if dots and stop - start <= MOST_ROWS else NOTHING,
        tag("path", class_="odd", d=odd) if odd else NOTHING,
        *more,
        class_=f"panel p{column}",
        viewBox=f"0 0 100 {stop - start}",
        preserveAspectRatio="none",
        style=f"--rows:{stop - start}",
        **named,
    )


def _marks(panel: Panel, layers: Sequence[Layer], start: int, stop: int) -> tuple[str, str, str]:
    line, dots, odd, pen = "", "", "", "M"
    for index in range(max(0, start - 1), min(len(layers), stop + 1)):
        value, y = panel.of(layers[index]), index - start + 0.5
        x = panel.scale.place(value)
        inside = start <= index < stop
        if x is None:
            pen = "M"
            odd += _odd(value, y) if inside else ""
            continue
        line += f"{pen}{short(x)} {y:g}"
        dots += f"M{short(x)} {y:g}h0" if inside else ""
        pen = "L"
    return line, dots, odd


def _odd(value: float | None, y: float) -> str:
    """Not finite: a cross at the right end. Zero: an arrow head at the left end. Not measured: nothing."""
    if value is None:
        return ""
    if not math.isfinite(value):
        return f"M97 {y - 0.2:g}l2.6 .4m0 -.4l-2.6 .4"
    return f"M2.6 {y - 0.2:g}L.6 {y:g}l2 .2"


def _overview(
    layers: Sequence[Layer], flags: Mapping[str, Sequence[Finding]], panels: Sequence[Panel], frame: Frame
) -> Iterator[Html]:
    drawings = [
        _drawing(panel, layers, 0, len(layers), place, _summary(layers, panel), _bands(layers, panel))
        for place, panel in enumerate(panels)
    ]
    names = (
        tag(
            "li",
            _name(layers[i], i, flags.get(layers[i].name, ()), frame),
            style=f"top:{short((i + 0.5) * 100 / len(layers))}%",
            title=_tip(layers[i], panels, ()),
        )
        for i in labelled(layers, flags)
    )
    yield tag("div", *drawings, tag("ol", *names), class_="block deep")


def labelled(layers: Sequence[Layer], flags: Mapping[str, Sequence[Finding]]) -> list[int]:
    """First, last, those with findings, then whatever has room: no two closer than a line of text."""
    flagged = [i for i, layer in enumerate(layers) if layer.name in flags]
    flagged.sort(key=lambda i: min(finding.severity.rank for finding in flags[layers[i].name]))
    even = [round(k * (len(layers) - 1) / LABELS) for k in range(LABELS + 1)]
    kept: list[int] = []
    for index in (0, len(layers) - 1, *flagged, *even):
        if all(abs(index - other) * LABELS >= len(layers) * 0.9 for other in kept):
            kept.append(index)
    return sorted(kept)


def _bands(layers: Sequence[Layer], panel: Panel) -> list[Html]:
    """Each stretch says its ends and its range under the pointer."""
    bands = []
    for band in range(BANDS):
        first, stop = band * len(layers) // BANDS, (band + 1) * len(layers) // BANDS
        ends = f"{layers[first].name} to {layers[stop - 1].name}"
        text = f"{ends}: {panel.name} {_range(layers[first:stop], panel)}"
        bands.append(tag("rect", tag("title", text), y=first, width=100, height=stop - first))
    return bands


def _range(layers: Sequence[Layer], panel: Panel) -> str:
    values = [value for layer in layers if (value := panel.of(layer)) is not None]
    finite = [value for value in values if math.isfinite(value)]
    parts = [f"{units.number(min(finite))} to {units.number(max(finite))}"] if finite else []
    if len(finite) < len(values):
        parts.append(f"{units.count(len(values) - len(finite))} not finite")
    if len(values) < len(layers):
        parts.append(f"{units.count(len(layers) - len(values))} not measured")
    return ", ".join(parts)


def _summary(layers: Sequence[Layer], panel: Panel) -> str:
    first, last = panel.of(layers[0]), panel.of(layers[-1])
    return (
        f"{panel.name} over {units.counted(len(layers), 'layer')} on a log scale: {units.number(first)} at "
        f"the first, {units.number(last)} at the last, {_range(layers, panel)} over all"
    )


def _caption(layers: Sequence[Layer], panels: Sequence[Panel], deep: bool, frame: Frame) -> Html:
    values = [panel.of(layer) for panel in panels for layer in layers]
    spans = f"Log scales; each spans {units.counted(panels[0].scale.decades, 'decade')}"
    parts = [f"{spans}, so the slopes compare." if len(panels) > 1 else f"{spans}."]
    parts.append("δ = ∂L/∂z is the gradient of the loss with respect to the output z of a layer.")
    silent = sum(layer.gradient_max == 0 for layer in layers)
    if silent:
        parts.append(f"The whole gradient of {units.counted(silent, 'layer')} is exactly zero.")
    if any(value is not None and not math.isfinite(value) for value in values):
        parts.append("A cross at the right end is a number that is not finite.")
    if any(value == 0 for value in values):
        parts.append("An arrow head at the left end is exactly zero.")
    if any(value is None for value in values):
        parts.append("A gap was not measured.")
    link = tag("a", "The same numbers as a table", href=f"#{frame.id('layers')}")
    if deep:
        parts.append("Point at the drawing for the range of a stretch of layers.")
    return tag("figcaption", " ".join(parts), " ", link, ".")
