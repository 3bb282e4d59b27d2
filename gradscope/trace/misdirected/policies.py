"""Choices of a policy or of classes that are weighed alike, made certain, or clipped on the wrong side."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace import jaxprs
from gradscope.trace.affine_terms import affine_terms, number_of
from gradscope.trace.graph import Node, Quantity, behind
from gradscope.trace.misdirected.tail import ONE, Tail, Wiring, is_chance
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS

_LIFTED = ONE | {"add", "max"}
_BOUNDED = ONE | {"min", "max", "clamp", "mul"}


def every_choice(tail: Tail) -> Iterator[MisdirectedCredit]:
    """Log-probabilities that nothing but sums over all choices reads, of scores that nothing else chooses
    among."""
    read = {value: (classes, *_uses(tail, value)) for value, classes in _log_softmaxes(tail)}
    for value, (classes, alike, apart) in read.items():
        others = (uses[2] for other, uses in read.items() if other.grad == value.grad)
        if alike and not apart and not any(others) and not _chosen_among(tail, value):
            node = alike[0]
            yield MisdirectedCredit(
                Misdirection.EVERY_CHOICE,
                source_of(node.eqn, node.calls),
                tail.layers(value),
                count=classes,
            )


def _uses(tail: Tail, value: Quantity) -> tuple[list[Node], list[Node]]:
    """Those that weigh all choices alike, and others; entropies are neither."""
    uses = [node for node in tail.users.get(value, []) if node.name not in ("exp", "stop_gradient")]
    uses = [node for node in uses if not _is_entropy(node, value)]
    alike = [node for node in uses if _weighs_alike(node, value)]
    return alike, [node for node in uses if node not in alike]


def _chosen_among(tail: Tail, value: Quantity) -> bool:
    """Numbers of the batch choose among scores of the same parameters elsewhere."""
    return any(
        node.name == "gather" and node.operands[0].grad == value.grad and tail.is_data(node.operands[1])
        for node in tail.nodes
    )


def _log_softmaxes(tail: Tail) -> Iterator[tuple[Quantity, int]]:
    """Scores less the logarithm of the sum of their exponentials along the last axis."""
    for node in tail.nodes:
        if node.name != "sub" or not node.results[0].aval.shape:
            continue
        log = behind(node.operands[1], VIEWS)
        if log.node is None or log.node.name != "log" or log.aval.size >= node.results[0].aval.size:
            continue
        total = behind(log.node.operands[0], VIEWS)
        exp = None if total.node is None or total.node.name != "reduce_sum" else total.node.operands[0].node
        if exp is not None and exp.name == "exp":
            classes = int(node.results[0].aval.shape[-1])
            if classes > 1 and total.aval.size * classes == node.results[0].aval.size:
                yield node.results[0], classes


def _is_entropy(node: Node, value: Quantity) -> bool:
    """A product with the exponential of the value, or of a value with its logarithm."""
    if node.name != "mul":
        return False
    for each in node.operands:
        base = behind(each, ONE)
        made = base.node
        if made is not None and made.name == "exp" and behind(made.operands[0], ONE) is value:
            return True
        if base is value and value.node is not None and value.node.name == "log":
            p = behind(value.node.operands[0], _LIFTED)
            return any(behind(other, _LIFTED) is p for other in node.operands)
    return False


def _weighs_alike(node: Node, value: Quantity) -> bool:
    if node.name not in ("mul", "div") or node.operands[0] is node.operands[1]:
        return False
    (other,) = (each for each in node.operands if each is not value)
    if other.grad or number_of(other) is not None:
        return False
    return _copied(other)


def _copied(value: Quantity) -> bool:
    """Whether one number stands for all along the last axis."""
    if value.aval.shape[-1:] in ((), (1,)):
        return True
    node = value.node
    while node is not None and node.name in ("convert_element_type", "copy", "neg"):
        node = node.operands[0].node
    if node is None or node.name != "broadcast_in_dim":
        return False
    (moves,) = jaxprs.moves(node.eqn) or [()]
    last = len(node.results[0].aval.shape) - 1
    if last not in moves:
        return True
    return bool(node.operands[0].aval.shape[moves.index(last)] == 1)


def clipped(tail: Tail) -> Iterator[MisdirectedCredit]:
    """The maximum of two gains, or the minimum of two losses, of which one is clipped."""
    for term in affine_terms(tail.loss):
        node = term.base.node
        if node is None or node.name not in ("min", "max") or not all(each.grad for each in node.operands):
            continue
        plain = [each for each in node.operands if not _clips(each)]
        bounded = [each for each in node.operands if _clips(each)]
        if len(plain) != 1 or len(bounded) != 1 or not is_chance(plain[0]):
            continue
        ratios = {each.base for each in affine_terms(plain[0])}
        inner = {each for node in _elementwise(bounded[0]) for each in node.operands}
        if ratios & inner and (term.factor > 0) == (node.name == "min"):
            yield MisdirectedCredit(Misdirection.CLIP, source_of(node.eqn, node.calls), tail.layers(plain[0]))


def _clips(value: Quantity) -> bool:
    """Whether it is a bounded value times an array without a gradient."""
    (term,) = affine_terms(value)[:1]
    node = behind(term.base, VIEWS).node
    return node is not None and node.name in ("min", "max", "clamp") and bool(term.weights)


def _elementwise(value: Quantity) -> Iterator[Node]:
    met: set[Node] = set()
    waiting = [value]
    while waiting:
        node = waiting.pop().node
        if node is not None and node not in met and node.name in _BOUNDED:
            met.add(node)
            yield node
            waiting.extend(each for each in node.operands if each.grad)


def entropies(tail: Tail) -> Iterator[Wiring]:
    """Sums of p log p that the loss falls by, beside log-probabilities that numbers without a gradient
    multiply."""
    products = [
        (node.path, 1 - place)
        for node in tail.nodes
        if node.name == "mul"
        for place, each in enumerate(node.operands)
        if each.grad and _is_policy(tail, each, node.operands[1 - place])
    ]
    for term in affine_terms(tail.loss):
        node = term.base.node
        if not products or node is None or node.name != "mul" or not term.factor < 0:
            continue
        if any(_is_entropy(node, behind(each, ONE)) for each in node.operands):
            record = MisdirectedCredit(
                Misdirection.ENTROPY, source_of(node.eqn, node.calls), tail.layers(term.base)
            )
            yield Wiring(record, tuple(products))


def _is_policy(tail: Tail, chance: Quantity, numbers: Quantity) -> bool:
    return not numbers.grad and tail.is_data(numbers) and is_chance(chance)
