"""What gradient comes back from each term of the loss, read from the program."""

from __future__ import annotations

from gradscope.records import Connection, Cut, LossTerm, Source
from gradscope.trace.graph import Graph, Node, Quantity, upstream
from gradscope.trace.program import Program
from gradscope.trace.sites import members_of
from gradscope.trace.sources import source_at, source_of, told_apart
from gradscope.trace.summands import Summand, summands
from gradscope.trace.zero_derivatives import Derivatives


def loss_terms(program: Program) -> tuple[LossTerm, ...]:
    """In the order in which they are written; a loss that is no sum is one term."""
    graph = Graph(program.body, len(program.leaves))
    found = summands(graph.outs[0])
    names = [leaf.name for leaf in program.leaves]
    reader = _Reader(names, upstream(each.value for each in found if each.value.grad), Derivatives(graph))
    return tuple(map(reader.term, found, _sources(found)))


def _sources(found: list[Summand]) -> list[Source | None]:
    paths = [each.at.location if each.at else () for each in found]
    chosen = told_apart([path for path in paths if path])
    return [source_at(chosen[path]) if path else None for path in paths]


class _Reader:
    def __init__(self, names: list[str], live: set[Node], derivatives: Derivatives) -> None:
        """`live` is what terms with a gradient depend on."""
        self._names = names
        self._live = live
        self._derivatives = derivatives

    def term(self, summand: Summand, source: Source | None) -> LossTerm:
        value = summand.value
        if value.reads and not value.grad:
            return self._blocked(value, source)
        zero = self._derivatives.in_dependent(value) if value.grad else self._derivatives.in_constant(value)
        return LossTerm(
            source,
            Connection.CONNECTED if value.grad else Connection.DISCONNECTED,
            parameters=self._named(zero.reads) if zero else (),
            derivative=zero.derivative if zero else None,
        )

    def _blocked(self, value: Quantity, source: Source | None) -> LossTerm:
        ends = [node for node in upstream([value], past_cuts=False) if node.cuts]
        cuts = [Cut(node.name, source_of(node.eqn, node.calls), False) for node in ends]
        return LossTerm(
            source,
            Connection.BLOCKED,
            parameters=self._named(value.reads),
            cuts=tuple(sorted(dict.fromkeys(cuts), key=lambda cut: (str(cut.source), cut.op))),
            detached=all(
                node.name == "stop_gradient" and (node is value.node or node in self._live) for node in ends
            ),
        )

    def _named(self, bits: int) -> tuple[str, ...]:
        return tuple(self._names[leaf] for leaf in members_of(bits))
