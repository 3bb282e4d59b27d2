"""What another precision would do, as every format for people words it."""

from __future__ import annotations

from gradscope.records import LayerInPrecision, Precision
from gradscope.report.shared import units
from gradscope.report.shared.table import Column, SmallTable

NAMES = {
    "bf16": "bfloat16",
    "f16": "float16",
    "fp8": "8-bit floats in products, bfloat16 elsewhere",
    "mxfp8": "MXFP8 (blocks of 32 with a scale each) in products, bfloat16 elsewhere",
}
MOST_SUMS = 3
KINDS = {
    "products": "products of matrices",
    "sums": "sums along axes",
    "functions": "exponentials, roots, quotients and the like",
    "others": "additions and other operations",
}
MEANING = (
    "cosine: of a layer's gradient and that of the program in which every value, and every δ, is rounded: 1 "
    "where nothing is lost. To 0, too large: shares of the elements that are not 0."
)


def precision_table(found: Precision) -> SmallTable:
    layers = found.layers
    columns = [Column(("", "cosine"), 0, [_cosine(each.cosine) for each in layers])]
    if found.scale is not None:
        heading = ("cosine with", f"loss × {found.scale:g}")
        columns.append(Column(heading, 1, [_cosine(each.cosine_scaled) for each in layers]))
    if found.cosine_up is not None:
        heading = ("cosine, scales", "rounded up")
        columns.append(Column(heading, 1, [_cosine(each.cosine_up) for each in layers]))
    shares = (
        (("output", "to 0"), [each.value_underflow for each in layers]),
        (("output", "too large"), [each.value_overflow for each in layers]),
        (("δ", "to 0"), [each.delta_underflow for each in layers]),
        (("δ", "too large"), [each.delta_overflow for each in layers]),
    )
    for place, (heading, values) in enumerate(shares):
        if any(values):
            columns.append(Column(heading, 2 + place, [_share(value) for value in values]))
    return SmallTable(
        "Precision",
        "layer",
        [each.layer for each in layers],
        columns,
        [_urgency(each) for each in layers],
        MEANING,
        heading=f"What if: {NAMES.get(found.format, found.format)}",
        said=said(found),
    )


def said(found: Precision) -> str:
    """`The loss is 2.30 and 2.31 rounded; the cosine of the two gradients is 0.998.`"""
    text = f"The loss is {units.number(found.loss)}, and {units.number(found.rounded_loss)} rounded"
    if found.cosine is None:
        return f"{text}; its gradient is 0 or not finite then.{_kept(found)}{_sums(found)}"
    text += f"; the cosine of the two gradients is {_cosine(found.cosine)}"
    if found.scale is not None:
        text += f", and {_cosine(found.cosine_scaled)} where the loss is multiplied by {found.scale:g}"
    if found.cosine_up is not None:
        text += f", and {_cosine(found.cosine_up)} where the scales of its blocks are rounded up"
    return f"{text}.{_kept(found)}{_sums(found)}"


def _sums(found: Precision) -> str:
    if not found.narrow_sums:
        return ""
    told = [
        f"{each.op} of {units.count(each.length)} numbers in {each.dtype}"
        + ("" if each.source is None else f" at {each.source}")
        for each in found.narrow_sums
    ]
    more = f" and {len(told) - MOST_SUMS} more" if len(told) > MOST_SUMS else ""
    return f" The program itself adds up in a small format: {', '.join(told[:MOST_SUMS])}{more}."


def _kept(found: Precision) -> str:
    kind, line = found.best_kind, found.best_line
    if kind is None or found.kept_before is None:
        return ""
    kinds = sum(each.source is None for each in found.kept)
    if kind.cosine == -1:
        tried = units.counted(kinds, "kind")
        return (
            f" None of {tried} of operations, kept as it is while all else is rounded, gives every layer a "
            "gradient."
        )
    text = (
        f" Of {units.counted(kinds, 'kind')} of operations that were kept as they are in turn, "
        f"{KINDS.get(kind.kind, kind.kind)} bring most back: the lowest cosine of a layer is "
        f"{_lowest(kind.cosine)} then, and {_lowest(found.kept_before)} with nothing kept."
    )
    if line is not None:
        lines = units.counted(len(found.kept) - kinds, "line")
        text += f" Those at {line.source} alone bring {_lowest(line.cosine)}, the most of {lines}."
    return text


def _lowest(cosine: float) -> str:
    return "none" if cosine == -1 else _cosine(cosine)


def _urgency(layer: LayerInPrecision) -> float:
    return -1.0 if layer.cosine is None else layer.cosine


def _cosine(value: float | None) -> str:
    """As many digits as tell it from 1."""
    if value is None:
        return "-"
    return "1" if 1 - value < 1e-6 else f"{value:.6f}" if value > 0.9995 else f"{value:.3f}"


def _share(value: float | None) -> str:
    return "" if not value else units.share(value)
