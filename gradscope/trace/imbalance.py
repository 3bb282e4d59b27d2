"""Terms of the loss that are reduced unalike: one is averaged over elements, another is summed over them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from gradscope.records import Source, TermImbalance
from gradscope.trace.graph import Node, Quantity, upstream, viewed
from gradscope.trace.jaxprs import is_user_file
from gradscope.trace.jaxprs.authors import author
from gradscope.trace.jaxprs.programs import inner_bodies
from gradscope.trace.jaxprs.stable import is_stable
from gradscope.trace.program import Program
from gradscope.trace.sources import source_at, told_apart
from gradscope.trace.summands import MOST
from gradscope.trace.vocabulary import PRODUCTS, VIEWS

WRITTEN = 2.0
"""A term whose elements weigh more or less than a mean or a sum makes them by such a factor has a weight of
its own that the author chose; the 1/2 of a KL divergence is none."""
ROUNDED = 0.005
"""A count in bfloat16."""
_PRODUCTS = tuple(PRODUCTS)
_ACROSS = (
    *("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_window", "psum", "cum", "fft"),
    *("argmax", "argmin", "sort", "top_k", "scatter", "scan", "while", "cholesky", "triangular", "ragged"),
)
"""How operations are called whose results depend on several elements of one operand, or begin to be."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """An array that is reduced to a number and added to the loss."""

    value: Quantity
    at: Node
    """The sum over its elements that comes next."""
    factor: float
    """That its elements are multiplied by in the sum of the terms."""
    over: float
    """That they are divided by."""
    size: int
    """How many of them there are for each element of that sum, which is a number unless it is mapped."""

    def divisor(self) -> int | None:
        """How many elements it is averaged over: those along some of its axes.

        `None` where its weight is none that a mean or a sum would give.
        """
        sizes = [size for size in self.value.aval.shape if size > 1]
        groups = [group for count in range(len(sizes) + 1) for group in combinations(sizes, count)]
        weight = self.over / self.factor
        for over, factor in ((self.over, self.factor), (weight, 1.0), (weight / 2, 2.0), (weight * 2, 0.5)):
            for size in map(math.prod, groups):
                if math.isclose(size, over, rel_tol=ROUNDED) and 1 / WRITTEN <= factor <= WRITTEN:
                    return size
        return None


def imbalances(program: Program) -> tuple[TermImbalance, ...]:
    """Each pair of lines once: a term that is averaged, and one that is a sum of what the first comes from.

    The second one is taken element by element of the outputs of layers from which the first is computed by
    further layers, as a penalty on a code is.
    """
    graph = program.graph
    found = [(each, divisor) for each in _reduced(graph.outs[0]) if (divisor := each.divisor()) is not None]
    pairs = [
        (averaged, summed, products)
        for summed in found
        if (products := elementwise_products(summed[0].value)) is not None and summed[1] < summed[0].size
        for averaged in found
        if averaged[1] > summed[1] and leads_to(products, averaged[0].value)
    ]
    makers = [(one[0].value.node, other[0].at) for one, other, _ in pairs]
    lines = _lines([node for pair in makers for node in pair if node is not None])
    owner = {id(site.eqn): layer.name for layer in program.layers for site in layer.sites}
    told: dict[tuple[Source | None, Source | None], TermImbalance] = {}
    for ((_, over), (summed, divisor), products), (made, added) in zip(pairs, makers, strict=True):
        record = TermImbalance(
            averaged=lines.get(made) if made else None,
            averaged_over=over,
            summed=lines.get(added),
            summed_over=summed.size // divisor,
            divisor=divisor,
            layers=tuple(dict.fromkeys(owner[id(node.eqn)] for node in products if id(node.eqn) in owner)),
        )
        same = told.setdefault((record.averaged, record.summed), record)
        layers = tuple(dict.fromkeys((*same.layers, *record.layers)))
        told[record.averaged, record.summed] = replace(same, layers=layers)
    return tuple(told.values())


def _lines(nodes: list[Node]) -> dict[Node, Source]:
    paths = {node: node.location for node in nodes if node.location}
    chosen = told_apart(list(paths.values()))
    return {node: source_at(chosen[path]) for node, path in paths.items()}


def _reduced(loss: Quantity) -> Iterator[Reduced]:
    """The arrays that the loss is a sum of, with what their elements are multiplied and divided by.

    Weights count from the first sum of terms on: what multiplies the loss as a whole belongs to no term.
    """
    waiting: list[tuple[Quantity, Node | None, float, float]] = [(loss, None, 1.0, 1.0)]
    sums, count = 0, 0
    while waiting and count < MOST:
        value, at, factor, over = waiting.pop()
        if not sums and _is_sum(value):
            sums, factor, over = value.aval.size, 1.0, 1.0
        parts = [part for part in _parts(value) if part[0].reads]
        if parts:
            at = value.node if value.node is not None and value.node.name == "reduce_sum" else at
            waiting.extend((part, at, factor * times, over * by) for part, times, by in reversed(parts))
        elif at is not None and factor and value.reads and value.aval.size > 1:
            count += 1
            yield Reduced(value, at, abs(factor), abs(over), value.aval.size // max(sums, 1))


def _is_sum(value: Quantity) -> bool:
    return value.node is not None and value.node.name in ("add", "sub", "add_any")


def _parts(value: Quantity) -> Iterator[tuple[Quantity, float, float]]:
    """What it is a sum of, and what each element of that is multiplied and divided by; or nothing.

    What a library sums in one of its losses, and what a value of the batch multiplies, stays whole.
    """
    node = value.node
    if node is None or node.cuts or is_stable(node.eqn, node.calls):
        return
    operands = node.operands
    if node.name in VIEWS or node.name == "reduce_sum":
        yield operands[0], max(value.aval.size / max(operands[0].aval.size, 1), 1.0), 1.0
    elif node.name == "neg":
        yield operands[0], 1.0, 1.0
    elif _is_sum(value) and (value.aval.size == 1 or is_user_file(author(node.eqn, node.calls))):
        yield from ((operand, 1.0, 1.0) for operand in operands)
    elif node.name == "mul":
        for each, other in (operands, operands[::-1]):
            if each.reads and (number := _number(other)) is not None:
                yield each, number, 1.0
    elif node.name == "div" and (number := _number(operands[1])):
        yield operands[0], 1.0, number


def _number(value: Quantity) -> float | None:
    """Of a literal, or of one in another dtype."""
    literal = viewed(value).number
    return float(np.asarray(literal).reshape(())) if literal is not None and np.size(literal) == 1 else None


def elementwise_products(value: Quantity) -> set[Node] | None:
    """The products next before it, where each of its elements comes from single elements of their results."""
    found: set[Node] = set()
    for node in _back(value):
        if _carries(node, _PRODUCTS):
            found.add(node)
        elif _carries(node, _ACROSS):
            return None
    return found or None


def leads_to(products: set[Node], value: Quantity) -> bool:
    """Whether it is computed from all of their results, and by further products only."""
    last = {node for node in _back(value) if _carries(node, _PRODUCTS)}
    return not last & products and products <= upstream([value])


def _back(value: Quantity) -> Iterator[Node]:
    """What it is computed from, up to the next products with parameters in them, those included."""
    met: set[Node] = set()
    waiting = [value]
    while waiting:
        each = waiting.pop()
        node = each.node
        if node is None or not each.reads or node in met:
            continue
        met.add(node)
        yield node
        if not _carries(node, _PRODUCTS):
            waiting.extend(node.operands)


def _carries(node: Node, names: tuple[str, ...]) -> bool:
    """Whether its name begins so, or that of an operation in what it carries."""
    waiting = [node.eqn]
    while waiting:
        eqn = waiting.pop()
        if eqn.primitive.name.startswith(names):
            return True
        waiting.extend(each for body in inner_bodies(eqn) for each in body.eqns)
    return False
