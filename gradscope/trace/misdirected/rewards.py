"""Rewards, and ends of episodes, that a loss makes the wrong use of. Which arrays these are, names tell."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from math import copysign

from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace import jaxprs
from gradscope.trace.affine_terms import affine_terms, number_of
from gradscope.trace.graph import Graph, Node, Quantity, upstream
from gradscope.trace.misdirected.tail import Tail, is_log_chance, is_ratio
from gradscope.trace.program import Program
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS

_THROUGH = VIEWS | {"stop_gradient", "neg"}
MOST = 64
"""Terms of a target that are told apart."""


@dataclass(frozen=True)
class HeldTerm:
    """A term of a value, with or without a gradient."""

    value: Quantity
    factor: float


def unread(program: Program, position: int) -> bool:
    """Whether nothing of an input of the program comes to the loss, with or without a gradient."""
    loss = program.graph.outs[0]
    reached = upstream([loss])
    return all(each.position != position for node in reached for each in node.operands)


def bootstraps(program: Program) -> Iterator[MisdirectedCredit]:
    """Of each value that is compared with a reward and a part of a value of the network, in every row."""
    tail = Tail(program)
    for node in tail.nodes:
        if node.name not in ("sub", "add", "add_any") or node.results[0] not in tail.ends_even:
            continue
        terms = _parts(node.results[0])
        own = [
            each for each in terms if each.value.grad and abs(each.factor) == 1 and tail.is_data(each.value)
        ]
        later = [each for each in terms if each.value.reads and 0 < abs(each.factor) < 1]
        later = [each for each in later if tail.is_data(each.value)]
        given = [each for each in terms if not each.value.reads and tail.is_data(each.value)]
        if len(own) != 1 or len(later) != 1 or not given:
            continue
        (value,), (next_one,) = own, later
        if value.factor * next_one.factor < 0 and all(each.factor * next_one.factor > 0 for each in given):
            yield MisdirectedCredit(
                Misdirection.UNENDED,
                source_of(node.eqn, node.calls),
                tail.layers(value.value),
                discount=abs(next_one.factor),
            )


def _parts(value: Quantity, *, past_arrays: bool = False) -> list[HeldTerm]:
    """Back through sums, numbers that multiply, views, and what stops a gradient. `past_arrays`: through
    products with arrays, too, which are taken to be positive; of a factor the sign alone is then told."""
    found: list[HeldTerm] = []
    waiting = [HeldTerm(value, 1.0)]
    while waiting and len(found) < MOST:
        part = waiting.pop()
        behind = _behind(part.value, past_arrays)
        waiting += [HeldTerm(each, part.factor * factor) for each, factor in behind]
        if not behind:
            found.append(part)
    return found


def _behind(value: Quantity, past_arrays: bool) -> list[tuple[Quantity, float]]:
    """What a value is the sum of, and by how much each counts; empty where it is none."""
    node = value.node
    if node is None:
        return []
    if node.name in _THROUGH:
        return [(node.operands[0], -1.0 if node.name == "neg" else 1.0)]
    if node.name not in ("add", "add_any", "sub", "mul", "div"):
        return []
    one, other = node.operands
    if node.name not in ("mul", "div"):
        return [(one, 1.0), (other, -1.0 if node.name == "sub" else 1.0)]
    if number := number_of(other):
        return [(one, number if node.name == "mul" else 1 / number)]
    if node.name == "mul" and (number := number_of(one)):
        return [(other, number)]
    if not past_arrays:
        return []
    return [(one, 1.0)] if node.name == "div" else [(one, 1.0), (other, 1.0)]


def past_returns(program: Program, rewards: Mapping[int, str]) -> Iterator[tuple[MisdirectedCredit, str]]:
    """Discounted sums from the first step on of an array that is called a reward, which weigh
    log-probabilities; and that name. `rewards` are positions of inputs."""
    tail = Tail(program)
    for node in tail.nodes:
        for place, chance in enumerate(node.operands if node.name == "mul" else ()):
            weight = node.operands[1 - place]
            if not chance.grad or weight.grad or not (is_log_chance(chance) or is_ratio(tail, chance)):
                continue
            above = upstream([weight])
            loops = [each for each in above if each.name == "scan"]
            turned = any(each.name in ("rev", "cumsum", "while") for each in above)
            if len(loops) != 1 or turned:
                continue
            sums, discount = loops[0], _forward_sum(loops[0])
            names = {rewards[at] for at in _inputs(sums.operands) if at in rewards}
            if discount is not None and len(names) == 1 and _adds(weight, sums):
                yield (
                    MisdirectedCredit(
                        Misdirection.PAST,
                        source_of(sums.eqn, sums.calls),
                        tail.layers(chance),
                        count=jaxprs.scan_params(sums.eqn).length,
                        discount=discount,
                    ),
                    names.pop(),
                )


def _adds(weight: Quantity, loop: Node) -> bool:
    """Whether rows of a loop count in a value as they are: not as a baseline, nor less than the whole."""
    used = [each for each in _parts(weight, past_arrays=True) if each.value.node is loop]
    return bool(used) and all(each.value is not loop.results[0] and each.factor > 0 for each in used)


def _inputs(values: Collection[Quantity]) -> set[int]:
    """Positions of the inputs that these depend on."""
    every = [*values, *(each for node in upstream(values) for each in node.operands)]
    return {each.position for each in every if each.position is not None}


def _forward_sum(loop: Node) -> float | None:
    """What multiplies the sum so far, where a loop without parameters adds its rows to it, one after the
    other."""
    scan = jaxprs.scan_params(loop.eqn)
    if scan.reverse or scan.carry != 1 or scan.length < 2 or any(each.reads for each in loop.operands):
        return None
    graph = Graph(jaxprs.carry_first(scan), scan.carry)
    total, *rows = graph.outs
    terms = affine_terms(total)
    kept = [each for each in terms if each.base.position == 0 and not each.weights]
    added = [each for each in terms if each.base.position is not None and each.base.position > 0]
    if len(terms) != 2 or len(kept) != 1 or len(added) != 1 or not added[0].factor > 0:
        return None
    return kept[0].factor if total in rows and 0 < kept[0].factor <= 1 else None


@dataclass(frozen=True)
class Weighed:
    """A term of the loss that is a log-probability times an array without a gradient."""

    record: MisdirectedCredit
    sign: int
    """1 where the loss grows with the product, else -1."""
    inputs: Collection[int]
    """Positions of those that the array depends on."""
    signs: Mapping[int, int]
    """By position, of the inputs that are terms of the array: 1 where it grows with them, else -1."""


def weighed_chances(program: Program) -> Iterator[Weighed]:
    tail = Tail(program)
    for term in affine_terms(tail.loss):
        sign = _log_sign(term.base)
        by = [
            (node, each) for each in term.weights if tail.is_data(each) for node in tail.users.get(each, [])
        ]
        products = [(node, each) for node, each in by if node.name == "mul"]
        if sign is not None and len(products) == 1 and term.factor:
            ((node, weight),) = products
            source, layers = source_of(node.eqn, node.calls), tail.layers(term.base)
            record = MisdirectedCredit(Misdirection.DESCENDED, source, layers)
            signs = {
                each.value.position: int(copysign(1, each.factor))
                for each in _parts(weight, past_arrays=True)
                if each.value.position is not None
            }
            yield Weighed(record, int(copysign(1, term.factor) * sign), _inputs([weight]), signs)


def _log_sign(value: Quantity) -> int | None:
    """1 of a logarithm of a probability, which has that of a normalizer taken away; -1 of its negative."""
    node = value.node
    while node is not None and node.name == "gather":
        value = node.operands[0]
        node = value.node
    signs = {
        int(copysign(1, -term.factor))
        for term in affine_terms(value)
        if term.base.node is not None and term.base.node.name == "log" and term.factor
    }
    return signs.pop() if len(signs) == 1 else None
