"""The tables: layers in forward order, gradients verified, what led up to a NaN, the targets of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gradscope.language import translate
from gradscope.records import Finding, Layer, Measurement, Origin, RuleCheck, Suite, Verdict, Verification
from gradscope.report.html.markup import (
    NOTHING,
    Frame,
    Html,
    code,
    details,
    escaped,
    joined,
    listed,
    prose,
    scrolled,
    table,
    tag,
)
from gradscope.report.html.scales import Logarithmic, logarithmic
from gradscope.report.shared import gradients as checks_in_words, origin as leading, targets, units
from gradscope.report.shared.columns import LayerColumn, telling
from gradscope.report.shared.table import filled

BROKEN = frozenset(("NaN", "inf", "-inf"))


def layers(measured: Measurement, flags: Mapping[str, Sequence[Finding]], frame: Frame) -> Html:
    """Every layer, however many: the twin of the picture, and what a search in the page finds."""
    rows = measured.layers
    if not rows:
        return NOTHING
    columns = telling(rows)
    scale = logarithmic(layer.delta_rms for layer in rows)
    titles = [
        "layer",
        *(column.heading for column in columns),
        *(["findings"] if flags else []),
        "where",
    ]
    words = {0, len(titles) - 1, *(i for i, title in enumerate(titles) if title == "findings")}
    head = (tag("th", t, scope="col", class_="w" if i in words else None) for i, t in enumerate(titles))
    body = (_layer(layer, i, columns, scale, flags, frame) for i, layer in enumerate(rows))
    caption = "layers in forward order; the bar behind δ is on a log scale"
    return joined(
        [
            tag("p", "The table moves sideways: more columns are to the right.", class_="sideways quiet"),
            scrolled(
                caption,
                tag("thead", tag("tr", *head)),
                tag("tbody", *body),
                kind="rows" if flags else "rows unflagged",
            ),
            details(
                "What the columns are",
                tag("dl", *(listed(column.heading, column.meaning) for column in columns), class_="meanings"),
            ),
        ]
    )


def _layer(
    layer: Layer,
    index: int,
    columns: Sequence[LayerColumn],
    scale: Logarithmic | None,
    flags: Mapping[str, Sequence[Finding]],
    frame: Frame,
) -> Html:
    kind = tag("small", " ", layer.kind) if layer.kind else NOTHING
    silent = tag("small", " gradient 0") if layer.gradient_max == 0 else NOTHING
    found = flags.get(layer.name, ())
    # Written by hand: two thousand rows of a dozen cells are the longest part of a page.
    cells = "".join(f"<td{_bad(text)}>{escaped(text)}</td>" for text in (c.cell(layer) for c in columns[:-1]))
    last = tag("td", columns[-1].cell(layer), style=_bar(layer.delta_rms, scale), class_="bar")
    rules = dict.fromkeys(finding.rule for finding in found)
    return tag(
        "tr",
        tag("th", layer.name, kind, silent, scope="row"),
        Html(cells),
        last,
        *([tag("td", ", ".join(rules), class_=found[0].severity.value if found else None)] if flags else []),
        tag("td", str(layer.source)) if layer.source else tag("td"),
        id=frame.id(f"l{index}"),
    )


def _bad(text: str) -> str:
    return ' class="bad"' if text in BROKEN else ""


def _bar(value: float | None, scale: Logarithmic | None) -> str | None:
    place = scale.place(value) if scale else None
    return None if place is None else f"--w:{place:.0f}%"


def gradients(verified: Verification | None, frame: Frame) -> Html:
    """What `verify` found: leaves, single elements, custom rules, and forward against reverse mode."""
    if verified is None:
        return NOTHING
    checks = verified.leaves
    parts: list[Html] = []
    if checks:
        titles = ["parameter", "verdict", *(title for title, _ in checks_in_words.COLUMNS), "why"]
        rows = [
            [
                code(check.parameter),
                _verdict(check.verdict),
                *(
                    cell(check) if check.directions else units.NOT_MEASURED
                    for _, cell in checks_in_words.COLUMNS
                ),
                prose(check.reason),
            ]
            for check in sorted(checks, key=lambda check: check.verdict is Verdict.RIGHT)
        ]
        words = [1, len(titles) - 1]
        parts = [
            tag("p", checks_in_words.tally(checks), "."),
            table(
                titles, rows, caption="gradients by backpropagation and by finite differences", words=words
            ),
        ]
    return frame.section(
        "gradients", "Gradients verified", *parts, *_elements(verified), *_modes(verified, frame)
    )


def _verdict(verdict: Verdict) -> Html:
    return tag("span", verdict.value, class_=checks_in_words.STYLES[verdict])


def _elements(verified: Verification) -> Iterator[Html]:
    found = verified.elements
    if not found:
        return
    odd = [element for element in found if element.verdict is not Verdict.RIGHT]
    right = f"{units.count(len(found) - len(odd))} of {units.count(len(found))} single elements are right."
    yield tag("p", right)
    if odd:
        rows = [
            [
                code(f"{each.parameter}[{', '.join(map(str, each.index))}]"),
                _verdict(each.verdict),
                units.cell(each.analytic),
                units.cell(each.numeric),
            ]
            for each in odd
        ]
        yield table(
            ["element", "verdict", "backprop", "differences"], rows, caption="single elements", words=[1]
        )


def _modes(verified: Verification, frame: Frame) -> Iterator[Html]:
    if verified.custom_rules:
        yield frame.heading(2, "Custom rules")
        rows = [_rule(check) for check in verified.custom_rules]
        titles = ["function", "verdict", "argument", "where", "why"]
        yield table(titles, rows, caption="custom derivative rules", words=[1, 2, 3, 4])
    mode = verified.transposition
    if mode is not None:
        numbers = f"{units.number(mode.forward)} and {units.number(mode.reverse)}"
        told = mode.reason if mode.verdict is Verdict.CANNOT_JUDGE else numbers
        yield tag("p", "Forward against reverse mode: ", _verdict(mode.verdict), f" ({told}).")


def _rule(check: RuleCheck) -> list[str]:
    return [
        joined([code(check.function), f" {check.kind}"]),
        _verdict(check.verdict),
        code(check.argument) if check.argument else "",
        code(check.source) if check.source else "",
        prose(check.reason),
    ]


def lead_up(origin: Origin | None, frame: Frame) -> Html:
    if origin is None or not origin.lead_up:
        return NOTHING
    rows = [
        [
            code(step.op),
            leading.values(step),
            joined([code(step.source), " ", code(step.source.text)]) if step.source else "",
        ]
        for step in origin.lead_up
    ]
    return frame.section(
        "lead-up",
        f"What led up to {origin.derivative_of or origin.op}",
        table(["operation", "gave", "where"], rows, caption="operations before it", words=[1, 2]),
        tag("p", f"Then {translate(leading.not_finite(origin))}."),
    )


def several(suite: Suite, ids: Sequence[str]) -> Html:
    """One row each, linked to its section."""
    columns = filled(targets.columns(suite))
    titles = ["target", *(column.heading for column in columns)]
    rows = [
        [
            tag("a", outcome.target, href=f"#{ids[place]}"),
            *(
                tag("span", column.cells[place], class_=column.cells[place].replace(" ", "-"))
                if column.title[1] == "verdict"
                else column.cells[place]
                for column in columns
            ),
        ]
        for place, outcome in enumerate(suite.outcomes)
    ]
    words = [i for i, column in enumerate(columns, 1) if not column.right]
    return table(titles, rows, caption="targets of this run", words=words)


def parameters(measured: Measurement) -> Html:
    """Leaf by leaf, folded away."""
    if not measured.parameters:
        return NOTHING
    rows = [
        [
            code(each.name),
            "×".join(map(str, each.shape)) or "scalar",
            each.dtype,
            each.connection.value,
            units.cell(each.weight_rms),
            units.cell(each.gradient_norm),
            units.cell(each.gradient_max),
        ]
        for each in measured.parameters
    ]
    titles = ["parameter", "shape", "dtype", "reaches the loss", "weight rms", "grad norm", "grad max"]
    inner = table(titles, rows, caption="parameters", words=[1, 2, 3])
    return details(f"{units.counted(len(rows), 'parameter leaf').replace('leafs', 'leaves')}", inner)
