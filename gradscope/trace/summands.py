"""Takes the loss apart into its summands: back from it through sums, constant factors and views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gradscope.trace.graph import Node, Quantity
from gradscope.trace.jaxprs.authors import author
from gradscope.trace.jaxprs.locations import is_user_file
from gradscope.trace.jaxprs.stable import is_stable
from gradscope.trace.vocabulary import VIEWS

MOST = 256
"""Summands that are told apart; a penalty on every leaf of a large model makes more."""

_LINEAR = VIEWS | {"neg", "reduce_sum"}
"""Of one operand, and linear in it."""


@dataclass(frozen=True, eq=False)
class Summand:
    value: Quantity
    """What is added, before the constant factors and the mean around it."""
    at: Node | None
    """What makes it; of an input, what it goes into."""
    fixed: bool = True
    """Its factors are numbers that the program writes."""
    use: tuple[Node, int] | None = None
    """What takes it on the way to the loss, and as which operand; `None` of the loss itself."""


def _no(value: Quantity) -> bool:
    del value
    return False


def summands(loss: Quantity, whole: Callable[[Quantity], bool] = _no) -> list[Summand]:
    """In the order in which they are written; one that is added twice stands once. What is `whole` is not
    taken apart."""
    found: list[Summand] = []
    met: set[int] = set()
    waiting: list[tuple[Quantity, Node | None, bool]] = [(loss, loss.node, True)]
    while waiting and len(found) < MOST:
        value, user, fixed = waiting.pop()
        if id(value) in met:
            continue
        met.add(id(value))
        parts = [] if whole(value) else list(_parts(value))
        if parts:
            still = fixed and _by_numbers(value.node, parts)
            waiting.extend((part, value.node, still) for part in reversed(parts))
        elif value.number is None:
            use = None if user is None or value is loss else (user, user.operands.index(value))
            found.append(Summand(value, value.node or user, fixed, use))
    return found


def _parts(value: Quantity) -> Iterator[Quantity]:
    """The values that it is a sum of, up to factors; none where it is no sum."""
    node = value.node
    if node is None or node.cuts:
        return
    operands = node.operands
    if node.name in _LINEAR:
        yield operands[node.results.index(value)] if len(operands) == len(node.results) else operands[0]
    elif node.name in ("add", "sub", "add_any"):
        yield from operands if _is_users_sum(node, value) else ()
    elif node.name in ("concatenate", "stack"):
        yield from operands
    elif node.name == "mul":
        factors = [each for each in operands if (each.reads if value.reads else each.number is None)]
        yield from factors if len(factors) == 1 else ()
    elif node.name == "div" and not operands[1].reads and (value.reads or operands[1].number is not None):
        yield operands[0]
    elif node.name == "select_n" and value.reads and not operands[0].reads:
        yield from operands[1:]


def _by_numbers(node: Node | None, parts: list[Quantity]) -> bool:
    if node is None or node.name not in ("mul", "div", "select_n"):
        return True
    return all(each.number is not None for each in node.operands if each not in parts)


def _is_users_sum(node: Node, value: Quantity) -> bool:
    """A sum that the user wrote: of losses, or of arrays whose mean is the loss.

    The sums that a library takes inside one of its losses are no terms of the user's, nor are those inside
    of what depends on no parameter.
    """
    if getattr(value.aval, "size", 0) == 1:
        return not is_stable(node.eqn, node.calls)
    return bool(value.reads) and is_user_file(author(node.eqn, node.calls))
