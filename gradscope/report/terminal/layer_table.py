"""The table of layers in forward order: the columns that fit, and the bar in which decay is seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from gradscope.language import heading, translate
from gradscope.records import Finding, Layer
from gradscope.report.shared import units
from gradscope.report.shared.bars import BROKEN, LogScale, bar, scale_of, sparkline
from gradscope.report.shared.base import Line, View
from gradscope.report.shared.columns import COLUMNS, LayerColumn
from gradscope.report.shared.folding import Folded, flags_by_layer, fold_layers
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.terminal.lines import fold, pad, paragraph, width_of

BAR_WIDTH = 8
MARK = 2
EVERYTHING = 120
"""From this width on no column is given up before names are as narrow as can be read."""
FOLDED_NAME = (16, 24)
"""A name is folded, at 30% of the width and within these bounds, before a column is given up ..."""
LAST_RESORT_NAME = 6
"""... and at this one where nothing is left to give up."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The widths in which one table is drawn; without a width for the flags they stand below their row."""

    name: int
    gap: str
    bar: int
    flags: int
    columns: tuple[tuple[LayerColumn, int], ...]
    kind: int = 0
    """Of the class of each layer's module, which is shown where room is left."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """What the rows of one table have in common."""

    glyphs: Glyphs
    scale: LogScale | None
    flags: Mapping[str, Sequence[Finding]]
    names: Mapping[str, str] = field(default_factory=dict)

    def rules_of(self, layer: Layer) -> list[str]:
        found = self.flags.get(layer.name, ())
        return list(dict.fromkeys(self.glyphs.text(finding.rule) for finding in found))


def layer_table(layers: Sequence[Layer], findings: Sequence[Finding], view: View) -> list[Line]:
    if not layers:
        return []
    glyphs = view.glyphs
    sheet = Sheet(
        glyphs,
        scale_of(layer.delta_rms for layer in layers),
        flags_by_layer(findings),
        {layer.name: glyphs.text(layer.name) for layer in layers},
    )
    rows = fold_layers(layers, sheet.flags, view.show_all)
    shown = [row for row in rows if isinstance(row, Layer)]
    layout = with_kinds(lay_out(shown, sheet, view.width), shown, sheet, view.width)
    lines = _header(layout, sheet)
    for row in rows:
        lines += _row(row, layout, sheet) if isinstance(row, Layer) else _folded(row, sheet, view)
    return lines + _captions(layers, len(shown) < len(layers), layout, sheet, view)


def lay_out(shown: Sequence[Layer], sheet: Sheet, width: int) -> Layout:
    """Fold names, then put flags on lines of their own, then leave out columns, the least telling first."""
    name = max([width_of(heading("layer")), *(width_of(sheet.names[layer.name]) for layer in shown)])
    flags = max([0, *(width_of(rule) for layer in shown for rule in sheet.rules_of(layer))])
    columns = [(column, _column_width(column, shown, sheet)) for column in COLUMNS]
    columns = [(column, size) for column, size in columns if size]
    bar_width = BAR_WIDTH if sheet.scale or any(_broken(layer) for layer in shown) else 0
    low, high = FOLDED_NAME
    folded = min(name, low if width >= EVERYTHING else max(low, min(high, width * 3 // 10)))
    while True:
        layout = Layout(name, "  ", bar_width, flags, tuple(columns))
        for gap, least in (("  ", name), (" ", name), (" ", folded)):
            room = width - _fixed_width(layout, len(gap))
            if room >= least:
                return Layout(min(name, room), gap, bar_width, flags, tuple(columns))
        if flags:
            flags = 0
        elif len(columns) > 1:
            columns.remove(max(columns, key=lambda entry: entry[0].priority))
        elif bar_width:
            bar_width = 0
        else:
            return Layout(max(LAST_RESORT_NAME, room), " ", 0, 0, tuple(columns))


def with_kinds(layout: Layout, shown: Sequence[Layer], sheet: Sheet, width: int) -> Layout:
    gap = len(layout.gap)
    kind = max([0, *(width_of(sheet.glyphs.text(layer.kind or "")) for layer in shown)])
    names = max([0, *(width_of(sheet.names[layer.name]) for layer in shown)])
    room = width - _fixed_width(layout, gap) - layout.name - gap
    return replace(layout, kind=kind) if kind and names <= layout.name and kind <= room else layout


def _column_width(column: LayerColumn, shown: Sequence[Layer], sheet: Sheet) -> int:
    """0 for a column that has nothing to say about any layer."""
    cells = [column.cell(layer) for layer in shown]
    if column.only_if_any and not any(cells):
        return 0
    return max(width_of(text) for text in (*cells, *_titles(column, sheet.glyphs)))


def _fixed_width(layout: Layout, gap: int) -> int:
    """All but the name."""
    sizes = [size for _, size in layout.columns]
    sizes += [size for size in (layout.bar, layout.flags) if size]
    return MARK + sum(sizes) + gap * len(sizes)


def _titles(column: LayerColumn, glyphs: Glyphs) -> tuple[str, str]:
    top, bottom = column.title
    return glyphs.text(heading(top)), glyphs.text(heading(bottom))


def _header(layout: Layout, sheet: Sheet) -> list[Line]:
    lines: list[Line] = []
    for index in (0, 1):
        text = " " * MARK + pad(heading("layer") if index else "", layout.name)
        text += layout.gap + " " * layout.kind if layout.kind else ""
        for column, size in layout.columns:
            text += layout.gap + pad(_titles(column, sheet.glyphs)[index], size, right=True)
        lines.append([(text.rstrip(), "quiet")])
    return lines


def _row(layer: Layer, layout: Layout, sheet: Sheet) -> list[Line]:
    found = sheet.flags.get(layer.name, ())
    gravest = min((finding.severity for finding in found), key=lambda s: s.rank, default=None)
    style = gravest.value if gravest else ""
    names = fold(sheet.names[layer.name], layout.name)
    rules = sheet.rules_of(layer) if layout.flags else []
    lines: list[Line] = []
    for index in range(max(len(names), len(rules))):
        mark = sheet.glyphs.marks[style] if gravest and index == 0 else ""
        name = names[index] if index < len(names) else ""
        line: Line = [(pad(mark, MARK), style), (pad(name, layout.name), "strong" if found else "")]
        if layout.kind:
            kind = sheet.glyphs.text(layer.kind or "") if index == 0 else ""
            line.append((layout.gap + pad(kind, layout.kind), "quiet"))
        line += _cells(layer, layout, sheet) if index == 0 else _blank(layout)
        if index < len(rules):
            line += [(layout.gap, ""), (rules[index], style)]
        lines.append(line)
    if not layout.flags:
        lines += [[(" " * MARK * 2 + rule, style)] for rule in sheet.rules_of(layer)]
    return lines


def _cells(layer: Layer, layout: Layout, sheet: Sheet) -> Line:
    line: Line = []
    for column, size in layout.columns:
        cell = column.cell(layer)
        style = "quiet" if cell == units.NOT_MEASURED else "bad" if _not_finite(cell) else ""
        line.append((layout.gap + pad(cell, size, right=True), style))
    if layout.bar:
        text = bar(layer.delta_rms, sheet.scale, layout.bar, sheet.glyphs)
        line.append((layout.gap, ""))
        line.append((pad(text, layout.bar), "bad" if BROKEN in text else "bar"))
    return line


def _blank(layout: Layout) -> Line:
    sizes = [size for _, size in layout.columns] + ([layout.bar] if layout.bar else [])
    return [("".join(layout.gap + " " * size for size in sizes), "")]


def _not_finite(cell: str) -> bool:
    return cell in {"NaN", "inf", "-inf"}


def _broken(layer: Layer) -> bool:
    return layer.delta_rms is not None and _not_finite(units.number(layer.delta_rms))


def _folded(row: Folded, sheet: Sheet, view: View) -> list[Line]:
    glyphs, parts = sheet.glyphs, []
    if found := row.delta_range():
        low, high = (units.number(value) for value in found)
        parts.append(f"{glyphs.delta} {low}" if low == high else f"{glyphs.delta} {low} to {high}")
    if row.not_finite:
        parts.append(f"{units.count(row.not_finite)} not finite")
    flagged = sum(layer.name in sheet.flags for layer in row.layers)
    if flagged:
        parts.append(f"{units.count(flagged)} with findings")
    noun = units.counted(len(row.layers), "layer" if row.alike else "more layer")
    text = f"{noun} alike" if row.alike else noun
    detail = f" ({', '.join(parts)})" if parts else ""
    return paragraph(f"{glyphs.ellipsis} {text}{detail}", view, MARK, "quiet")


def _captions(layers: Sequence[Layer], folded: bool, layout: Layout, sheet: Sheet, view: View) -> list[Line]:
    glyphs, width, lines = view.glyphs, view.width, list[Line]()
    if layout.bar and sheet.scale:
        low, high = (units.number(10.0**end) for end in (sheet.scale.low, sheet.scale.high))
        text = f"bar: {glyphs.delta} rms on a log scale from {low} to {high}"
        lines += [[], *paragraph(text, view, MARK, "quiet")]
    if folded:
        label = f"{translate(f'{glyphs.delta} from first to last layer')}  "
        values = [layer.delta_rms for layer in layers]
        curve = sparkline(values, min(60, width - MARK - width_of(label)), glyphs)
        lines.append([(" " * MARK + label, "quiet"), (curve, "bar")])
        lines += paragraph("--all shows every layer", view, MARK, "quiet")
    return lines
