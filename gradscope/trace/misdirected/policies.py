"""Choices of a policy or of classes that are weighed alike, made certain, or clipped on the wrong side."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace import jaxprs
from gradscope.trace.affine_terms import affine_terms, number_of
from gradscope.trace.graph import Node, Quantity, behind
from gradscope.trace.misdirected.tail import ONE, Tail, Wiring, is_chance, is_log_chance, is_ratio
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS

_LIFTED = ONE | {"add", "max"}
_BOUNDED = ONE | {"min", "max", "clamp", "mul"}
_SHAPES_KEPT = frozenset({"neg", "convert_element_type", "copy", "reduce_precision"})


def every_choice(tail: Tail) -> Iterator[MisdirectedCredit]:
    """Log-probabilities that nothing but sums over all choices reads, of scores that nothing else chooses
    among."""
    read = {value: (classes, *_uses(tail, value)) for value, classes in _log_softmaxes(tail)}
    for value, (classes, alike, apart) in read.items():
        others = (uses[2] for other, uses in read.items() if other.grad & value.grad)
        if alike and not apart and not any(others) and not _chosen_among(tail, value, classes):
            node = alike[0]
            yield MisdirectedCredit(
                Misdirection.EVERY_CHOICE,
                source_of(node.eqn, node.calls),
                tail.layers(value),
                count=classes,
            )


def _uses(tail: Tail, value: Quantity) -> tuple[list[Node], list[Node]]:
    """What weighs all choices alike before they are added up, and all else; entropies are neither."""
    alike: list[Node] = []
    apart: list[Node] = []
    waiting: list[tuple[Quantity, int, Node | None]] = [(value, len(value.aval.shape) - 1, None)]
    while waiting:
        each, axis, weighed = waiting.pop()
        for node in tail.users.get(each, []):
            if _is_entropy(node, value) or _feeds_entropy(tail, node, value):
                continue
            to = _axis_after(node, each, axis)
            if to is not None:
                by = node if node.name in ("mul", "div") and number_of(_other(node, each)) is None else None
                waiting.append((node.results[0], to, weighed or by))
            elif node.name == "reduce_sum" and weighed is not None:
                alike.append(weighed)
            else:
                apart.append(node)
    return alike, apart


def _axis_after(node: Node, value: Quantity, axis: int) -> int | None:
    """Where the axis of choices is after an operation that does to all choices the same; else `None`."""
    if node.name in _SHAPES_KEPT:
        return axis
    if node.name in ("mul", "div"):
        other = _other(node, value)
        if other is value or other.grad or (node.name == "div" and node.operands[0] is not value):
            return None
        return axis if number_of(other) is not None or _copied(other, axis) else None
    if node.name in ("transpose", "broadcast_in_dim", "squeeze", "reduce_sum"):
        (moves,) = jaxprs.moves(node.eqn) or [()]
        return moves[axis]
    if node.name == "reshape":
        before, after = value.aval.shape, node.results[0].aval.shape
        return len(after) - 1 if axis == len(before) - 1 and after[-1:] == before[-1:] else None
    return None


def _other(node: Node, value: Quantity) -> Quantity:
    return node.operands[1] if node.operands[0] is value else node.operands[0]


def _feeds_entropy(tail: Tail, node: Node, value: Quantity) -> bool:
    """The exponential that nothing but an entropy reads, or what no gradient comes back from."""
    if node.name == "stop_gradient":
        return True
    users = tail.users.get(node.results[0], [])
    return node.name == "exp" and all(_is_entropy(each, value) for each in users)


def _chosen_among(tail: Tail, value: Quantity, classes: int) -> bool:
    """Numbers of the batch choose among scores of the same parameters elsewhere, or weigh each for itself."""
    for node in tail.nodes:
        if node.name not in ("gather", "mul"):
            continue
        for place, scores in enumerate(node.operands[: 1 if node.name == "gather" else 2]):
            given = node.operands[1 - place]
            if not scores.grad & value.grad or given.grad or not tail.is_data(given):
                continue
            each = scores.aval.shape[-1:] == (classes,) and not _copied(given, len(scores.aval.shape) - 1)
            if node.name == "gather" or each:
                return True
    return False


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


def _copied(value: Quantity, axis: int) -> bool:
    """Whether one number stands for all along an axis."""
    while axis < len(value.aval.shape) and value.aval.shape[axis] > 1:
        node = value.node
        if node is None:
            return False
        if node.name == "broadcast_in_dim":
            (moves,) = jaxprs.moves(node.eqn) or [()]
            if axis not in moves:
                return True
            axis = moves.index(axis)
        elif node.name not in _SHAPES_KEPT:
            return False
        value = node.operands[0]
    return True


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
    """Sums of p log p that the loss falls by, beside log-probabilities of the same parameters that numbers
    without a gradient multiply."""
    products = [
        (node, place, each)
        for node in tail.nodes
        if node.name == "mul"
        for place, each in enumerate(node.operands)
        if each.grad and not node.operands[1 - place].grad and tail.is_data(node.operands[1 - place])
    ]
    for term in affine_terms(tail.loss):
        node = term.base.node
        if node is None or node.name != "mul" or not term.factor < 0:
            continue
        if not any(_is_entropy(node, behind(each, ONE)) for each in node.operands):
            continue
        spots = tuple(
            (product.path, 1 - place)
            for product, place, chance in products
            if chance.grad == term.base.grad and (is_log_chance(chance) or is_ratio(tail, chance))
        )
        if spots:
            record = MisdirectedCredit(
                Misdirection.ENTROPY, source_of(node.eqn, node.calls), tail.layers(term.base)
            )
            yield Wiring(record, spots)
