"""Products of weights with a state that is 0 at every step of a loop: what is followed are exact zeros."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any

import jax
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Counted, Entry
from gradscope.trace.vocabulary import PARTS, PRODUCTS, VIEWS
from gradscope.trace.walk import Domain, Path, Visit, walk

LARGEST = 10**6
"""Elements of a constant that is looked at: no state has more."""
_KEEP = VIEWS | PARTS | frozenset({"neg", "stop_gradient", "abs", "sign", "tanh", "reduce_sum", "reduce_max"})
"""Operations that make 0 of a first operand that is 0."""
_ANY = PRODUCTS | {"mul"}
_EVERY = frozenset({"add", "sub", "add_any", "max", "min", "concatenate", "pad"})


@dataclass(frozen=True, slots=True)
class Zeros:
    """What is known of one value."""

    zero: bool = False
    """Exactly 0 at every step of the loops around it."""
    part: bool = False
    """The rest of its last axis is; `concatenate([x, state])`."""
    weights: int = 0
    """Bits of the leaves that it is an arrangement of."""
    reads: int = 0
    """Bits of the leaves that it depends on."""


@dataclass(frozen=True)
class IdleProduct:
    """Of a weight, with nothing but zeros."""

    path: Path
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    """Equations around it, innermost first."""
    operand: Zeros
    weights: int


@dataclass
class CountedLoop:
    """A loop of known length."""

    length: int
    unread: tuple[int, ...]
    """Carried values that nothing in it reads."""
    rows: tuple[tuple[int, ...], ...]
    """Shapes of what each step gets a part of."""
    carried: int = 0
    """Bits of the leaves that the carried values depend on after a step."""
    overwritten: int = 0
    """Of those of them that nothing reads."""


@dataclass
class IdleStates(Domain[Zeros, Path]):
    """`products` and `loops` hold what the last turn around each loop has shown."""

    products: dict[Path, IdleProduct] = field(default_factory=dict)
    busy: int = 0
    """Bits of the leaves that are multiplied with something else."""
    loops: dict[Path, CountedLoop] = field(default_factory=dict)

    def literal(self, atom: Any, place: Path) -> Zeros:
        del place
        return Zeros(zero=jaxprs.is_zero(atom))

    def constant(self, value: Any, place: Path) -> Zeros:
        del place
        size = getattr(value, "size", 0)
        plain = 0 < size <= LARGEST and jax.numpy.issubdtype(value.dtype, np.number)
        return Zeros(zero=bool(plain and not np.any(np.asarray(jax.device_get(value)))))

    def join(self, values: Sequence[Zeros]) -> Zeros:
        zero = all(each.zero for each in values)
        same = {each.weights for each in values}
        return Zeros(
            zero=zero,
            part=not zero and all(each.zero or each.part for each in values),
            weights=same.pop() if len(same) == 1 else 0,
            reads=_bits(each.reads for each in values),
        )

    def below(self, visit: Visit[Zeros, Path], entry: Entry) -> Path:
        return (*visit.place, visit.index, entry.number)

    def before(self, eqn: JaxprEqn, values: list[Zeros], place: Path, index: int) -> None:
        if eqn.primitive.name in PRODUCTS:
            self._meet(eqn, values, (*place, index))

    def plain(self, eqn: JaxprEqn, values: list[Zeros], place: Path, index: int) -> list[Zeros]:
        del place, index
        name, found = eqn.primitive.name, self.join(values)
        zero = (
            values[0].zero
            if name in _KEEP and values
            else any(each.zero for each in values)
            if name in _ANY
            else found.zero and name in _EVERY
            if name != "select_n"
            else all(each.zero for each in values[1:])
        )
        arranged = name in VIEWS | PARTS or name == "concatenate"
        part = name == "concatenate" and _along_the_last(eqn) and any(each.zero for each in values)
        known = replace(
            found,
            zero=zero,
            part=not zero and (part or (name in VIEWS and found.part)),
            weights=_bits(each.weights for each in values) if arranged else 0,
        )
        return [known] * len(eqn.outvars)

    def entering(self, visit: Visit[Zeros, Path], entry: Entry) -> list[Zeros]:
        inputs = super().entering(visit, entry)
        loop, path = visit.inside.loop, (*visit.place, visit.index)
        if isinstance(loop, Counted):
            read = {atom for each in entry.body.eqns for atom in each.invars if not jaxprs.is_literal(atom)}
            read |= {atom for atom in entry.body.jaxpr.outvars if not jaxprs.is_literal(atom)}
            unread = [i for i, at in enumerate(entry.carried) if entry.body.jaxpr.invars[at] not in read]
            rows = tuple(shape_of(entry.body.jaxpr.invars[at]) for at in entry.rows)
            self.loops[path] = CountedLoop(loop.length, tuple(unread), rows)
            # Each row belongs to another layer: no step sees the weights of another one.
            for at in entry.rows:
                inputs[at] = replace(inputs[at], weights=0)
        return inputs

    def again(self, before: Zeros, after: Zeros, visit: Visit[Zeros, Path], *, first: bool) -> Zeros:
        loop = self.loops.get((*visit.place, visit.index))
        if loop is not None and loop.length == 1:
            return before
        return super().again(before, after, visit, first=first)

    def leaving(self, visit: Visit[Zeros, Path], carried: list[Zeros], outs: list[Zeros]) -> list[Zeros]:
        loop = self.loops.get((*visit.place, visit.index))
        if loop is not None:
            loop.carried = _bits(each.reads for each in outs[: len(carried)])
            loop.overwritten = _bits(outs[place].reads for place in loop.unread)
        return outs

    def _meet(self, eqn: JaxprEqn, values: list[Zeros], path: Path) -> None:
        self.products.pop(path, None)
        for weight, other in (values, values[::-1]):
            if not weight.weights:
                continue
            if not (other.zero or other.part):
                self.busy |= weight.weights
            else:
                self.products[path] = IdleProduct(path, eqn, self.around[1:], other, weight.weights)


def idle_states(body: Body, leaves: int) -> IdleStates:
    """Of a program whose first inputs are its parameter leaves."""
    domain = IdleStates()
    inputs = [
        Zeros(weights=1 << i, reads=1 << i) if i < leaves else Zeros() for i in range(len(body.jaxpr.invars))
    ]
    walk(domain, body, inputs, ())
    return domain


def _bits(values: Iterable[int]) -> int:
    return reduce(or_, values, 0)


def _along_the_last(eqn: JaxprEqn) -> bool:
    return all(shape_of(each)[-1:] != shape_of(eqn.outvars[0])[-1:] for each in eqn.invars)
