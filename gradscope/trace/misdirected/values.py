"""Values of a network that its own target, or what weighs a policy, is made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import prod

from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace import jaxprs
from gradscope.trace.affine_terms import AffineTerm, affine_terms
from gradscope.trace.graph import Graph, Node, Quantity, behind, upstream
from gradscope.trace.misdirected.tail import Tail, Wiring, is_log_chance, nodes_before, sums_to
from gradscope.trace.sources import source_of
from gradscope.trace.spliced import Spot
from gradscope.trace.vocabulary import PRODUCTS, VIEWS

_CHOICES = frozenset({"reduce_max", "reduce_min", "max", "min"})
FEW_TERMS = 8
"""In the difference of a value and its target."""


def targets(tail: Tail) -> Iterator[Wiring]:
    """Reward plus a part of the network's own value, less its value, squared."""
    met: set[Quantity] = set()
    for node in tail.nodes:
        if node.name not in ("sub", "add", "add_any") or node.results[0] not in tail.ends_even:
            continue
        if not met.isdisjoint(node.operands):
            continue
        terms = affine_terms(node.results[0])
        if len(terms) > FEW_TERMS:
            continue
        moving = [each for each in terms if each.base.grad and tail.is_data(each.base) and not each.summed]
        rewards = [each for each in terms if not each.base.reads and tail.is_data(each.base)]
        own = _own_target(tail, moving, rewards)
        found = own or _target_of_a_loop(tail, moving)
        if found is not None:
            met.update(node.results)
            ends = tuple(_spot(tail, each) for each in _ends(tail, found)) if own else ()
            number = abs(found.factor) if 0 < abs(found.factor) < 1 else None
            record = MisdirectedCredit(
                Misdirection.TARGET,
                source_of(node.eqn, node.calls),
                tail.layers(found.base),
                discount=number,
            )
            yield Wiring(record, ends)


def _own_target(tail: Tail, moving: list[AffineTerm], rewards: list[AffineTerm]) -> AffineTerm | None:
    if len(moving) != 2 or not rewards:
        return None
    for value, target in (moving, moving[::-1]):
        whole = abs(value.factor) == 1 and not value.weights
        chosen = _is_chosen(tail, value) or _is_chosen(tail, target)
        part = bool(_ends(tail, target)) or (chosen and 0 < abs(target.factor) < 1)
        with_reward = any(each.factor * target.factor > 0 for each in rewards)
        signs = value.factor * target.factor < 0 and with_reward
        if whole and part and signs and _of_one_network(tail, value, target, chosen=chosen):
            return target
    return None


def _ends(tail: Tail, target: AffineTerm) -> list[Quantity]:
    """Arrays of the batch that it is multiplied by, which end episodes if all their numbers lie in [0, 1]."""
    users = {each: tail.users.get(each, []) for each in target.weights if tail.is_data(each)}
    return [] if any(not by or any(node.name == "div" for node in by) for by in users.values()) else [*users]


def _spot(tail: Tail, value: Quantity) -> Spot:
    node = tail.users[value][0]
    return node.path, node.operands.index(value)


def _of_one_network(tail: Tail, value: AffineTerm, target: AffineTerm, *, chosen: bool) -> bool:
    """Two applications of the same function, or values of several rows or times of one. A derivative is made
    by other operations; two outputs of one network are two quantities, unless one of several is chosen."""
    if value.base.grad != target.base.grad:
        return False
    one, other = _last_products(value.base), _last_products(target.base)
    if one & other:
        return chosen or (one == other and all(_outputs(tail, node) == 1 for node in one))
    return _operations(one) == _operations(other)


def _last_products(value: Quantity) -> set[Node]:
    return {node for node in nodes_before(value) if node.name in PRODUCTS}


def _outputs(tail: Tail, product: Node) -> int:
    """Numbers that a product with a parameter makes of each row."""
    moves = jaxprs.moves(product.eqn) or []
    count = 1
    for operand, to in zip(product.operands, moves, strict=False):
        if not tail.is_data(operand):
            count *= prod(size for size, axis in zip(operand.aval.shape, to, strict=True) if axis is not None)
    return count


def _operations(products: set[Node]) -> Counter[str]:
    """What the gradient goes through, by name; views say nothing."""
    nodes = upstream(each for node in products for each in node.results)
    return Counter(
        each.name for each in nodes if each.name not in VIEWS and any(made.grad for made in each.results)
    )


def _is_chosen(tail: Tail, term: AffineTerm) -> bool:
    """One of several numbers: the value of an action. Without a choice, and without an array of the batch
    that ends an episode, a difference equation says the same of the values of a network at two times."""
    node = behind(term.base, VIEWS).node
    if node is not None and node.name == "gather":
        return tail.is_data(node.operands[1])
    return node is not None and node.name in _CHOICES


def _target_of_a_loop(tail: Tail, moving: list[AffineTerm]) -> AffineTerm | None:
    """A return that a loop over time adds up, from rewards and the very values that it is compared with."""
    loops = [each for each in moving if each.base.node is not None and each.base.node.name == "scan"]
    values = {each.base for each in moving if each not in loops}
    if len(loops) != 1 or not values:
        return None
    (loop,) = loops
    assert loop.base.node is not None
    if not _forgets(loop.base.node):
        return None
    entering = [term for each in loop.base.node.operands if each.grad for term in affine_terms(each)]
    of_data = [each for each in entering if each.base.grad and tail.is_data(each.base)]
    if not of_data or not all(each.base in values for each in of_data):
        return None
    inside = any(not each.reads and tail.is_data(each) for each in loop.base.node.operands)
    beside = any(not term.base.reads and tail.is_data(term.base) for term in entering)
    return loop if inside or beside else None


def _forgets(loop: Node) -> bool:
    """Each step takes a part of what the one before it has added up: a plain sum is an integral."""
    scan = jaxprs.scan_params(loop.eqn)
    graph = Graph(jaxprs.carry_first(scan), scan.carry)
    return any(
        term.base.position == place and 0 < term.factor < 1
        for place, out in enumerate(graph.outs[: scan.carry])
        if out.grad
        for term in affine_terms(out)
    )


def baselines(tail: Tail) -> Iterator[MisdirectedCredit]:
    """Log-probabilities times what the batch says less the values of a critic that is trained elsewhere, in a
    term that the loss is a sum with."""
    regressed = {
        term.base
        for _, value in tail.squared
        for term in affine_terms(value)
        if term.base.grad and tail.is_data(term.base)
    }
    linear = set(sums_to(tail.loss))
    for node in tail.nodes:
        if node.name != "mul" or node not in linear or not all(each.grad for each in node.operands):
            continue
        for chance, advantage in (node.operands, node.operands[::-1]):
            terms = affine_terms(_unscaled(advantage))
            values = [each.base for each in terms if each.base in regressed]
            given = [each for each in terms if not each.base.grad and tail.is_data(each.base)]
            if not values or not given or not tail.is_data(chance):
                continue
            own = {term.base for term in affine_terms(chance)}
            if own.isdisjoint(values) and is_log_chance(chance):
                yield MisdirectedCredit(
                    Misdirection.BASELINE, source_of(node.eqn, node.calls), tail.layers(*values)
                )


def _unscaled(value: Quantity) -> Quantity:
    """Without the division by its own standard deviation."""
    base = behind(value, VIEWS)
    while base.node is not None and base.node.name == "div" and base.node.operands[0].grad:
        top, below = base.node.operands
        if not below.grad or not set(upstream([top])) & set(upstream([below])):
            break
        base = behind(top, VIEWS)
    return base
