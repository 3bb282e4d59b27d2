"""Values of a network that its own target, or what weighs a policy, is made of."""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import MisdirectedCredit, Misdirection
from gradscope.trace.affine_terms import AffineTerm, affine_terms
from gradscope.trace.graph import Quantity, behind, upstream
from gradscope.trace.misdirected.tail import LOOPS, Tail, is_chance
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS

_CHOICES = frozenset({"reduce_max", "reduce_min", "gather", "max", "min"})
FEW_TERMS = 8
"""In the difference of a value and its target."""


def targets(tail: Tail) -> Iterator[MisdirectedCredit]:
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
        found = _own_target(tail, moving, rewards) or _target_of_a_loop(tail, moving)
        if found is not None:
            met.update(node.results)
            number = abs(found.factor) if 0 < abs(found.factor) < 1 else None
            yield MisdirectedCredit(
                Misdirection.TARGET,
                source_of(node.eqn, node.calls),
                tail.layers(found.base),
                discount=number,
            )


def _own_target(tail: Tail, moving: list[AffineTerm], rewards: list[AffineTerm]) -> AffineTerm | None:
    if len(moving) != 2 or not rewards:
        return None
    for value, target in (moving, moving[::-1]):
        whole = abs(value.factor) == 1 and not value.weights
        ends = any(tail.is_data(each) for each in target.weights)
        chosen = _is_chosen(value) or _is_chosen(target)
        part = ends or (chosen and 0 < abs(target.factor) < 1)
        with_reward = any(each.factor * target.factor > 0 for each in rewards)
        if whole and part and value.factor * target.factor < 0 and with_reward:
            return target
    return None


def _is_chosen(term: AffineTerm) -> bool:
    """One of several numbers: the value of an action. Without a choice, and without an array of the batch
    that ends an episode, a difference equation says the same of the values of a network at two times."""
    base = behind(term.base, VIEWS)
    return base.node is not None and base.node.name in _CHOICES


def _target_of_a_loop(tail: Tail, moving: list[AffineTerm]) -> AffineTerm | None:
    """A return that a loop over time adds up, from rewards and the very values that it is compared with."""
    loops = [each for each in moving if each.base.node is not None and each.base.node.name in LOOPS]
    values = {each.base for each in moving if each not in loops}
    if len(loops) != 1 or not values:
        return None
    (loop,) = loops
    assert loop.base.node is not None
    entering = [term for each in loop.base.node.operands if each.grad for term in affine_terms(each)]
    of_data = [each for each in entering if each.base.grad and tail.is_data(each.base)]
    if not of_data or not all(each.base in values for each in of_data):
        return None
    inside = any(not each.reads and tail.is_data(each) for each in loop.base.node.operands)
    beside = any(not term.base.reads and tail.is_data(term.base) for term in entering)
    return loop if inside or beside else None


def baselines(tail: Tail) -> Iterator[MisdirectedCredit]:
    """Log-probabilities times what the batch says less the values of a critic that is trained elsewhere."""
    regressed = {
        term.base
        for _, value in tail.squared
        for term in affine_terms(value)
        if term.base.grad and tail.is_data(term.base)
    }
    for node in tail.nodes:
        if node.name != "mul" or not all(each.grad for each in node.operands):
            continue
        for chance, advantage in (node.operands, node.operands[::-1]):
            terms = affine_terms(_unscaled(advantage))
            values = [each.base for each in terms if each.base in regressed]
            given = [each for each in terms if not each.base.grad and tail.is_data(each.base)]
            if not values or not given or not tail.is_data(chance):
                continue
            own = {term.base for term in affine_terms(chance)}
            if own.isdisjoint(values) and is_chance(chance):
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
