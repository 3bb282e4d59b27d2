"""What gradient comes back from each term of the loss, read from the program."""

from __future__ import annotations

import math

from gradscope.records import Cancellation, Connection, Cut, LossTerm, Source
from gradscope.trace.affine_terms import number_of
from gradscope.trace.graph import Graph, Node, Quantity, upstream
from gradscope.trace.jaxprs import is_user_file
from gradscope.trace.jaxprs.authors import author
from gradscope.trace.program import Program
from gradscope.trace.sites import members_of
from gradscope.trace.sources import source_at, source_of, told_apart
from gradscope.trace.summands import Summand, summands
from gradscope.trace.vocabulary import VIEWS
from gradscope.trace.zero_derivatives import Derivatives


def loss_terms(program: Program) -> tuple[LossTerm, ...]:
    """In the order in which they are written; a loss that is no sum is one term, and so are those of one line
    that are alike (a penalty on every leaf).
    """
    graph = program.graph
    found = summands(graph.outs[0])
    names = [leaf.name for leaf in program.leaves]
    reader = _Reader(graph, names, upstream(each.value for each in found if each.value.grad))
    return tuple(dict.fromkeys(map(reader.term, found, _sources(found))))


def _sources(found: list[Summand]) -> list[Source | None]:
    paths = [each.at.location if each.at else () for each in found]
    chosen = told_apart([path for path in paths if path])
    return [source_at(chosen[path]) if path else None for path in paths]


class _Reader:
    def __init__(self, graph: Graph, names: list[str], live: set[Node]) -> None:
        """`live` is what terms with a gradient depend on."""
        self._names = names
        self._live = live
        self._trained = graph.outs[0].grad
        self._derivatives = Derivatives(graph)
        self._cancelled = [node for node in graph.cancelled if is_user_file(author(node.eqn, node.calls))]

    def term(self, summand: Summand, source: Source | None) -> LossTerm:
        value = summand.value
        if value.reads and not value.grad:
            return self._blocked(value, source)
        connection = Connection.CONNECTED if value.grad else Connection.DISCONNECTED
        around = upstream([value]) if self._cancelled else set()
        cancelled = next((node for node in self._cancelled if node in around), None)
        if cancelled is not None:
            reads = self._named(cancelled.operands[0].reads)
            found = Cancellation(source_of(cancelled.eqn, cancelled.calls), cancelled.name)
            return LossTerm(source, connection, reads, cancellation=found)
        zero = self._derivatives.in_dependent(value) if value.grad else self._derivatives.in_constant(value)
        if zero is None:
            return LossTerm(source, connection)
        return LossTerm(source, connection, self._named(zero.reads), derivative=zero.derivative)

    def _blocked(self, value: Quantity, source: Source | None) -> LossTerm:
        ends = [node for node in upstream([value], past_cuts=False) if node.cuts]
        # What nothing else trains is not there for its value: it was meant to be trained by this term.
        elsewhere = bool(self._trained & value.reads)
        cuts = [Cut(node.name, source_of(node.eqn, node.calls), False) for node in ends]
        return LossTerm(
            source,
            Connection.BLOCKED,
            parameters=self._named(value.reads),
            cuts=tuple(sorted(dict.fromkeys(cuts), key=lambda cut: (str(cut.source), cut.op))),
            detached=_is_support(value)
            or all(
                node.name == "stop_gradient" and (node is value.node or (node in self._live and elsewhere))
                for node in ends
            ),
        )

    def _named(self, bits: int) -> tuple[str, ...]:
        return tuple(self._names[leaf] for leaf in members_of(bits))


def _is_support(value: Quantity) -> bool:
    """Whether it is the log of a density that is constant where it is not 0, as of a uniform distribution: it
    depends on parameters by a choice between that and an infinity alone, or by the log of such a choice."""
    waiting, chosen = [value], False
    while waiting:
        node = waiting.pop().node
        if node is None or node.cuts:
            return False
        of_a_choice = node.name == "log" and _is_choice(node.operands[0])
        infinite = node.name == "select_n" and any(map(_is_infinite, node.operands[1:]))
        chosen |= of_a_choice or infinite
        if not of_a_choice:
            rest = node.operands[1:] if infinite else node.operands
            waiting.extend(each for each in rest if each.reads)
    return chosen


def _is_choice(value: Quantity) -> bool:
    node = value.node
    return node is not None and node.name in VIEWS and node.operands[0].aval.dtype == bool


def _is_infinite(value: Quantity) -> bool:
    number = number_of(value)
    return number is not None and math.isinf(number)
