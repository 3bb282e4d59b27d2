"""The picture of the network as a figure of matplotlib: activation and δ of each layer, on log scales that
span as many decades, so that their slopes compare.

What the page of HTML draws, for a paper or a notebook. A cross at the right end is a number that is not
finite, a triangle at the left end exactly zero; a gap was not measured.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.records import Finding, Layer, Report, Severity
from gradscope.report.html.scales import logarithmic
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.optional import imported

COLORS = {Severity.ERROR: "#b3261e", Severity.WARNING: "#805300", Severity.NOTE: "#0a6a8f"}
LINE = "#0a6a8f"
WIDTH, ROW, MARGIN = 8.0, 0.24, 1.8
"""Inches: of a figure, of a layer, of what stands above and below."""
TALLEST = 24.0
LONGEST = 48
"""Characters of a name or a title that are drawn; of a longer one its end."""
MOST_NAMES = 80
"""Layers whose names have room; of more, some are named."""
Value = Callable[[Layer], float | None]
PANELS: tuple[tuple[str, Value], ...] = (
    ("activation rms", lambda of: of.activation_rms),
    ("δ rms", lambda of: of.delta_rms),
)


def figure(report: Report, finding: Finding | None = None) -> Any:
    """A `matplotlib.figure.Figure`; layers of `finding`, or else of any finding, are marked.

    Raises `GradscopeError` where no layers were measured, or matplotlib is not installed.
    """
    layers = report.flow.layers if report.flow is not None else ()
    if not layers:
        raise GradscopeError(
            "There are no layers in this report to draw.",
            why="The run that made it did not measure any.",
            fix="Draw the report of `gradscope.check`.",
            slug="bad-option",
        )
    drawn = _figure_class()(figsize=(WIDTH, min(TALLEST, MARGIN + ROW * len(layers))), layout="constrained")
    axes = drawn.subplots(1, len(PANELS), sharey=True)
    marked = _marked(layers, report.findings if finding is None else (finding,))
    values = [[of(layer) for layer in layers] for _, of in PANELS]
    scales = [logarithmic(each) for each in values]
    decades = max((scale.decades for scale in scales if scale), default=0)
    for axis, (name, _), each, scale in zip(axes, PANELS, values, scales, strict=True):
        _panel(axis, name, each, marked)
        if scale is not None:
            axis.set_xscale("log")
            wide = scale.widened(decades)
            axis.set_xlim(10.0**wide.low, 10.0**wide.high)
    _names(axes[0], layers, marked)
    about = (
        f"{finding.rule}: {_short(finding.layer or 'the loss')}" if finding is not None else report.verdict
    )
    drawn.suptitle(f"{_short(report.target)}\n{about}", fontsize=10, parse_math=False)
    return drawn


@cache
def _figure_class() -> Any:
    """Not `pyplot`, which keeps each figure alive and chooses a window: so the class has `_repr_png_`."""
    library = imported(("matplotlib.figure",), "draw a figure", "figures")
    return type("ReportFigure", (library.Figure,), {"_repr_png_": _png})


def _png(drawn: Any) -> bytes:
    out = io.BytesIO()
    drawn.savefig(out, format="png")
    return out.getvalue()


def _marked(layers: Sequence[Layer], findings: Sequence[Finding]) -> dict[int, Severity]:
    """The gravest severity of each layer that a finding names, by its place."""
    places = {layer.name: place for place, layer in enumerate(layers)}
    found: dict[int, Severity] = {}
    for each in sorted(findings, key=lambda each: each.severity.rank):
        if each.layer in places:
            found.setdefault(places[each.layer], each.severity)
    return found


def _panel(axis: Any, name: str, values: Sequence[float | None], marked: dict[int, Severity]) -> None:
    for place, severity in marked.items():
        axis.axhspan(place - 0.5, place + 0.5, color=COLORS[severity], alpha=0.12, linewidth=0)
    on_scale = [value if _has_place(value) else math.nan for value in values]
    axis.plot(on_scale, range(len(values)), color=LINE, marker="o", markersize=3, linewidth=1)
    for edge, marker, odd in ((1.0, "x", _not_finite), (0.0, "<", _zero)):
        rows = [place for place, value in enumerate(values) if odd(value)]
        if rows:
            at_the_edge = {"transform": axis.get_yaxis_transform(), "clip_on": False}
            axis.plot([edge] * len(rows), rows, marker, color=COLORS[Severity.ERROR], **at_the_edge)
    axis.set_xlabel(name)
    axis.grid(axis="x", linewidth=0.4)
    axis.set_ylim(len(values) - 0.5, -0.5)


def _short(name: str) -> str:
    """The end is what tells `blocks[3].mlp` from `blocks[3].norm`."""
    line = visible(name)
    return line if len(line) <= LONGEST else f"...{line[3 - LONGEST :]}"


def _has_place(value: float | None) -> bool:
    return value is not None and math.isfinite(value) and value > 0


def _not_finite(value: float | None) -> bool:
    return value is not None and not math.isfinite(value)


def _zero(value: float | None) -> bool:
    return value == 0


def _names(axis: Any, layers: Sequence[Layer], marked: dict[int, Severity]) -> None:
    every = -(-len(layers) // MOST_NAMES)
    shown = sorted({*range(0, len(layers), every), len(layers) - 1, *marked})
    axis.set_yticks(shown, [_short(layers[place].name) for place in shown], fontsize=8, parse_math=False)
    for place, label in zip(shown, axis.get_yticklabels(), strict=True):
        if place in marked:
            label.set_color(COLORS[marked[place]])
