"""The end of the program, next to the loss, where credit is handed out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from gradscope.records import MisdirectedCredit
from gradscope.trace import jaxprs
from gradscope.trace.affine_terms import affine_terms
from gradscope.trace.graph import Node, Quantity, behind, upstream
from gradscope.trace.program import Program
from gradscope.trace.spliced import Spot
from gradscope.trace.vocabulary import PRODUCTS, VIEWS

EVEN = frozenset({"integer_pow", "square", "abs", "pow"})
LOOPS = frozenset({"scan", "while", "cumsum", "cumlogsumexp"})
LOGS = frozenset({"log", "log1p", "exp", "logistic", "exp2"})
ONE = VIEWS | {"neg"}
_LOG_FUNCTIONS = frozenset({"log_sigmoid", "softplus", "logaddexp"})


@dataclass(frozen=True)
class Wiring:
    record: MisdirectedCredit
    numbers: tuple[Spot, ...] = ()
    """Of arrays without a gradient, on which it depends whether it is one."""


class Tail:
    """The end of the program: what stands behind the last products with parameters."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.graph = program.graph
        self.loss = self.graph.outs[0]
        live = upstream([self.loss], past_cuts=False)
        self.nodes = [each for each in self.graph.nodes if each in live & self._near()]
        """That the gradient reaches, in the order in which they run."""

    def _near(self) -> set[Node]:
        found: set[Node] = set()
        waiting = [self.loss]
        while waiting:
            node = waiting.pop().node
            if node is None or node in found or not any(each.grad for each in node.results):
                continue
            found.add(node)
            if node.name not in PRODUCTS:
                waiting.extend(node.operands)
        return found

    @cached_property
    def users(self) -> dict[Quantity, list[Node]]:
        found: dict[Quantity, list[Node]] = {}
        for node in self.nodes:
            for each in node.operands:
                found.setdefault(each, []).append(node)
        return found

    @cached_property
    def data(self) -> set[Quantity]:
        """Values that arrays of the batch go into, or arrays that the loss closes over."""
        leaves, key = len(self.program.leaves), len(self.program.body.jaxpr.invars) - 1
        found: set[Quantity] = set()
        for node in self.graph.nodes:
            if any(each in found or self._is_array(each, leaves, key) for each in node.operands):
                found.update(node.results)
        return found

    @staticmethod
    def _is_array(value: Quantity, leaves: int, key: int) -> bool:
        given = value.position is not None and leaves <= value.position < key
        return given or getattr(value.constant, "size", 0) > 1

    def is_data(self, value: Quantity) -> bool:
        leaves, key = len(self.program.leaves), len(self.program.body.jaxpr.invars) - 1
        return value in self.data or self._is_array(value, leaves, key)

    @cached_property
    def squared(self) -> list[tuple[Node, Quantity]]:
        """What is squared, or whose absolute value is taken, and where."""
        found = []
        for node in self.nodes:
            if (node.name in EVEN or is_square(node)) and node.operands[0].grad:
                found.append((node, node.operands[0]))
        return found

    @cached_property
    def ends_even(self) -> set[Quantity]:
        """Values that nothing but linear operations, and loops over them, are between and a square."""
        found: set[Quantity] = set()
        waiting = [value for _, value in self.squared]
        while waiting:
            value = waiting.pop()
            if value in found:
                continue
            found.add(value)
            if value.node is not None and value.node.name in LOOPS:
                waiting.extend(each for each in value.node.operands if each.grad)
                continue
            for term in affine_terms(value):
                waiting.append(term.base)
            waiting.extend(_along(value))
        return found

    def layers(self, *values: Quantity) -> tuple[str, ...]:
        """Whose products are the last ones before these values."""
        owner = {id(site.eqn): layer.name for layer in self.program.layers for site in layer.sites}
        found = {owner[id(node.eqn)]: None for node in nodes_before(*values) if id(node.eqn) in owner}
        return tuple(found)


def _along(value: Quantity) -> Iterator[Quantity]:
    """The sums and differences on the way to the terms."""
    node = value.node
    if node is not None and node.name in ("add", "sub", "add_any", "neg", *ONE, "slice", "select_n"):
        yield from (each for each in node.operands if each.grad)
    elif node is not None and node.name in ("mul", "div", "concatenate", "stack", "reduce_sum"):
        moving = [each for each in node.operands if each.grad]
        yield from moving if len(moving) == 1 or node.name in ("concatenate", "stack") else ()


def nodes_before(*values: Quantity) -> Iterator[Node]:
    """What a gradient reaches on the way back to the last products with parameters, these too."""
    waiting, met = list(values), set[Node]()
    while waiting:
        node = waiting.pop().node
        if node is None or node in met:
            continue
        met.add(node)
        yield node
        if node.name not in PRODUCTS:
            waiting.extend(each for each in node.operands if each.grad)


def is_chance(value: Quantity) -> bool:
    """Logarithms or exponentials are behind it, and no product with parameters before them."""
    return any(node.name in LOGS for node in nodes_before(value))


def is_log_chance(value: Quantity) -> bool:
    """A logarithm is among what it is a sum of: of a normalizer, of a probability, or of a deviation.
    Exponentials and gates are none."""
    waiting, met = [value], set[Quantity]()
    while waiting:
        each = waiting.pop()
        if each in met:
            continue
        met.add(each)
        node = each.node
        if node is None or not each.grad:
            continue
        if node.name in ("log", "log1p") or jaxprs.function_name(node.eqn) in _LOG_FUNCTIONS:
            return True
        if node.name == "gather":
            waiting.append(node.operands[0])
        else:
            waiting.extend(term.base for term in affine_terms(each))
    return False


def is_ratio(tail: Tail, value: Quantity) -> bool:
    """The exponential of a log-probability less what the batch says that it was."""
    node = behind(value, ONE).node
    if node is None or node.name != "exp" or not is_log_chance(node.operands[0]):
        return False
    return any(not each.base.grad and tail.is_data(each.base) for each in affine_terms(node.operands[0]))


def sums_to(value: Quantity) -> Iterator[Node]:
    """The operations that the loss is a sum by."""
    met: set[Node] = set()
    waiting = [value]
    while waiting:
        node = waiting.pop().node
        if node is None or node in met:
            continue
        met.add(node)
        yield node
        moving = [each for each in node.operands if each.grad]
        linear = node.name in (*ONE, "reduce_sum", "mul", "div") and len(moving) == 1
        if linear or node.name in ("add", "sub", "add_any", "concatenate", "stack"):
            waiting.extend(moving)


def is_square(node: Node) -> bool:
    return node.name == "mul" and node.operands[0] is node.operands[1]
