"""The attention of a network as a small table, the same in every format."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Attention
from gradscope.report.shared import units
from gradscope.report.shared.table import Column

TITLE = "Attention"
MEANING = (
    "entropy: of the weights, as a share of that of equal weights for as many keys as the mask leaves; near "
    "0 a query looks at one key. lowest head: that of the sharpest head."
)


def told(found: Sequence[Attention]) -> list[Attention]:
    """Those whose weights sum to 1 over the keys, where a row has a choice."""
    return [each for each in found if each.looked_at]


def columns(found: Sequence[Attention]) -> list[Column]:
    """Of what `told` gave."""
    several = any(len(each.heads) > 1 for each in found)
    return [
        Column(("", "heads"), 3, [units.count(len(each.heads)) for each in found]),
        Column(("", "keys"), 2, [units.count(each.keys) for each in found]),
        Column(("largest", "|score|"), 1, [_score(each.largest_score) for each in found]),
        Column(("", "entropy"), 0, [units.number(each.entropy) for each in found]),
        Column(("lowest", "head"), 1, [units.number(_lowest(each)) if several else "" for each in found]),
    ]


def _lowest(attention: Attention) -> float:
    return min(head.entropy for head in attention.heads if head.rows)


def _score(value: float | None) -> str:
    return units.NOT_MEASURED if value is None else units.number(value)
