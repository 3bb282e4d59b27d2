"""The traced loss as one graph of values: a function that is merely called is written out in place.

What cannot be written out (a loop, a branch, a function with a derivative rule of its own) is one node,
whose results depend on all of its operands.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.jaxprs.identity import Identity
from gradscope.trace.nested.registry import inside
from gradscope.trace.vocabulary import NO_GRADIENT, VIEWS, is_real
from gradscope.trace.walk import Path, straight


@dataclass(eq=False, slots=True)
class Quantity:
    """One array of the program."""

    aval: Any
    node: Node | None = None
    """What makes it; `None` for an input, a constant, a literal."""
    reads: int = 0
    """Bits of the parameter leaves that it depends on in any way."""
    grad: int = 0
    """Bits of those to which a gradient of it comes back."""
    number: Any = None
    """Of a literal, what it is."""
    position: int | None = None
    """Of an input of the program, its place."""
    constant: Any = None
    """Of an array that the program closes over, what it is."""

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(map(int, self.aval.shape))


@dataclass(eq=False, slots=True)
class Node:
    """One equation, at one place where the function around it is called."""

    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    """The equations around it that call a function, innermost first."""
    path: Path
    operands: tuple[Quantity, ...]
    results: tuple[Quantity, ...] = ()

    @property
    def name(self) -> str:
        return self.eqn.primitive.name

    @property
    def cuts(self) -> bool:
        """A gradient would go into it and does not come out."""
        return any(v.grad for v in self.operands) and not any(v.grad for v in self.results)

    @property
    def location(self) -> tuple[tuple[str, int], ...]:
        """File and line of the user's frames, innermost first."""
        return tuple(jaxprs.user_stack(self.eqn, self.calls))


class Graph:
    """All values of a program whose first inputs are its parameter leaves."""

    def __init__(self, body: Body, leaves: int) -> None:
        self.nodes: list[Node] = []
        """In the order in which they run."""
        self.cancelled: list[Node] = []
        """Differences and ratios of two values that are computed in the same way from the same: constants."""
        self._identity = Identity()
        invars = body.jaxpr.invars
        bits = [1 << i if i < leaves else 0 for i in range(len(invars))]
        inputs = [
            Quantity(var.aval, None, bit, bit, position=place)
            for place, (var, bit) in enumerate(zip(invars, bits, strict=True))
        ]
        self.outs = self._run(body, inputs, (), ())

    def _run(
        self, body: Body, inputs: Sequence[Quantity], calls: tuple[JaxprEqn, ...], around: Path
    ) -> list[Quantity]:
        def equation(index: int, eqn: JaxprEqn, operands: list[Quantity]) -> list[Quantity]:
            carried = inside(eqn)
            if carried is not None and carried.calls and not carried.own_rule:
                return self._run(carried.entries[0].body, operands, (eqn, *calls), (*around, index, 0))
            return self._node(eqn, calls, (*around, index), operands)

        consts = [
            Quantity(var.aval, constant=value)
            for var, value in zip(body.jaxpr.constvars, body.consts, strict=True)
        ]
        return straight(body, inputs, consts, lambda atom: Quantity(atom.aval, number=atom.val), equation)

    def _node(
        self, eqn: JaxprEqn, calls: tuple[JaxprEqn, ...], path: Path, operands: list[Quantity]
    ) -> list[Quantity]:
        node = Node(eqn, calls, path, tuple(operands))
        reads = reduce(or_, (v.reads for v in operands), 0)
        grad = reduce(or_, (v.grad for v in operands), 0)
        if reads and node.name in ("sub", "div") and self._alike(*operands):
            self.cancelled.append(node)
            reads = grad = 0
        passes = node.name not in NO_GRADIENT
        node.results = tuple(
            Quantity(var.aval, node, reads, grad if passes and is_real(var.aval) else 0)
            for var in eqn.outvars
        )
        self.nodes.append(node)
        return list(node.results)

    def _alike(self, one: Quantity, other: Quantity) -> bool:
        """The same, or the same computed twice."""
        met: set[tuple[int, int]] = set()
        waiting = [(one, other)]
        while waiting:
            a, b = waiting.pop()
            if a is b or (id(a), id(b)) in met:
                continue
            met.add((id(a), id(b)))
            if a.node is None or b.node is None:
                if a.number is None or b.number is None or a.aval != b.aval or np.any(a.number != b.number):
                    return False
            elif a.reads != b.reads or not self._same_operation(a, a.node, b, b.node):
                return False
            else:
                waiting.extend(zip(a.node.operands, b.node.operands, strict=True))
        return True

    def _same_operation(self, a: Quantity, by: Node, b: Quantity, other: Node) -> bool:
        return (
            by.name == other.name
            and by.results.index(a) == other.results.index(b)
            and self._identity.equation(by.eqn) == self._identity.equation(other.eqn)
        )


def behind(value: Quantity, names: Collection[str], ruled: Collection[str] = ()) -> Quantity:
    """What a value is made of alone, as far back as operations of these names with one operand that depends
    on parameters lead; `ruled` are names of functions with a derivative rule of their own."""
    while value.node is not None:
        node = value.node
        rule = jaxprs.custom_rule(node.eqn)
        moving = [each for each in node.operands if each.reads]
        if len(moving) != 1 or (node.name not in names and (rule is None or rule.function not in ruled)):
            break
        value = moving[0]
    return value


def viewed(value: Quantity) -> Quantity:
    """What a value is an arrangement of: the operand behind its views."""
    while value.node is not None and value.node.name in VIEWS:
        value = value.node.operands[0]
    return value


def upstream(values: Iterable[Quantity], *, past_cuts: bool = True) -> set[Node]:
    """Every node that these values depend on; else only up to those that cut the gradient."""
    found: set[Node] = set()
    waiting = [v.node for v in values if v.node is not None]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            if past_cuts or not node.cuts:
                waiting.extend(v.node for v in node.operands if v.node is not None)
    return found
