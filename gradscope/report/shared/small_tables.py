"""What has a small table of its own where there is any: inputs, replicas, attention, routers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import Attention, Measurement, Routing, Surrogate
from gradscope.report.shared import units
from gradscope.report.shared.inputs import input_table
from gradscope.report.shared.parametrization import parametrization_table
from gradscope.report.shared.precision import precision_table
from gradscope.report.shared.replicas import replica_table
from gradscope.report.shared.table import Column, SmallTable

_ENTROPY = (
    "entropy: of the weights, as a share of that of equal weights for as many keys as the mask leaves. Near "
    "0 a query looks at one key. Lowest head: that of the sharpest one."
)
_SURROGATES = (
    "Rules that give a function whose own derivative is 0 another one. Not 0 at: share of the elements of "
    "what goes in, on the first batch and at up to four steps of a loop, through which a gradient comes "
    "back; of: the layers that put it out."
)
_LOAD = "Shares are those of all choices, over all rows of the batches, before any capacity drops some."


def small_tables(flow: Measurement) -> Iterator[SmallTable]:
    """Those in which something stands."""
    if flow.input_gradients:
        yield input_table(flow.input_gradients, flow.adversarial)
    if flow.precision is not None:
        yield precision_table(flow.precision)
    if flow.replicas is not None:
        yield replica_table(flow.replicas)
    if flow.parametrization is not None:
        yield parametrization_table(flow.parametrization)
    if flow.surrogates:
        yield _surrogates(flow.surrogates)
    attentions = [each for each in flow.attentions if each.looked_at]
    if attentions:
        yield _attention(attentions)
    if flow.routings:
        yield _experts(flow.routings)


def _surrogates(found: Sequence[Surrogate]) -> SmallTable:
    columns = [
        Column(("not 0", "at"), 0, [units.share(each.window) for each in found]),
        Column(("", "of"), 1, [", ".join(each.layers) or units.NOT_MEASURED for each in found], right=False),
        Column(
            ("", "line"), 2, ["" if each.source is None else str(each.source) for each in found], right=False
        ),
    ]
    names = [each.function for each in found]
    return SmallTable("Surrogates", "surrogate", names, columns, [each.window for each in found], _SURROGATES)


def _attention(found: Sequence[Attention]) -> SmallTable:
    several = any(len(each.heads) > 1 for each in found)
    columns = [
        Column(("", "heads"), 3, [units.count(len(each.heads)) for each in found]),
        Column(("", "keys"), 2, [units.count(each.keys) for each in found]),
        Column(("largest", "|score|"), 1, [_score(each.largest_score) for each in found]),
        Column(("", "entropy"), 0, [units.number(each.entropy) for each in found]),
        Column(("lowest", "head"), 1, [units.number(_lowest(each)) if several else "" for each in found]),
    ]
    names, entropies = [each.name for each in found], [each.entropy for each in found]
    detail = _heads(found) if several else None
    return SmallTable("Attention", "attention", names, columns, entropies, _ENTROPY, detail)


def _heads(found: Sequence[Attention]) -> SmallTable:
    every = [(each, place, head) for each in found for place, head in enumerate(each.heads) if head.rows]
    columns = [
        Column(("", "head"), 0, [str(place) for _, place, _ in every]),
        Column(("", "entropy"), 0, [units.number(head.entropy) for _, _, head in every]),
        Column(("rows with one", "key above 0.95"), 0, [units.share(head.sharp) for _, _, head in every]),
    ]
    names, entropies = [each.name for each, _, _ in every], [head.entropy for _, _, head in every]
    return SmallTable("Every head", "attention", names, columns, entropies, "Heads are counted from 0.")


def _experts(found: Sequence[Routing]) -> SmallTable:
    columns = [
        Column(("", "experts"), 2, [units.count(each.experts) for each in found]),
        Column(("chosen", "per row"), 3, [units.count(each.chosen) for each in found]),
        Column(("largest", "share"), 0, [units.share(max(each.shares)) for each in found]),
        Column(("smallest", "share"), 0, [units.share(min(each.shares)) for each in found]),
        Column(("never", "chosen"), 1, [units.count(len(each.idle)) for each in found]),
    ]
    names = [each.layer or "router" for each in found]
    smallest = [min(each.shares) for each in found]
    return SmallTable("Experts", "router", names, columns, smallest, _LOAD)


def _lowest(attention: Attention) -> float:
    return min(head.entropy for head in attention.heads if head.rows)


def _score(value: float | None) -> str:
    return units.NOT_MEASURED if value is None else units.number(value)
