"""Dropout: outputs of layers that a random mask of 0 and 1 multiplies, told by the operations that do it.

A mask is a comparison of random numbers with numbers that the program writes. It is one of dropout where all
that it does is to let through some elements of the network's own values: one that also chooses or weighs
elements of the batch, or that is counted, says which elements are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.located import plan_at
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Entry
from gradscope.trace.nested.registry import has_own_rule
from gradscope.trace.sites import Plan
from gradscope.trace.vocabulary import PARTS, PRODUCTS, VIEWS, is_real
from gradscope.trace.walk import Domain, Path, Visit, walk

DATA, WEIGHT, PARAM, RANDOM, ZERO = (1 << place for place in range(5))
"""It comes from the batch; it is a parameter in any arrangement; it comes from parameters; it comes from
random numbers, and from nothing of the batch or of parameters; it is 0."""
NETWORK = DATA | PARAM
_COMPARISONS = frozenset({"lt", "le", "gt", "ge"})


@dataclass(frozen=True, slots=True)
class Masked:
    """What is known of one value."""

    bits: int = 0
    masks: int = 0
    """Masks that it is."""
    bare: int = 0
    """Dropouts on the way to it behind which no layer stands."""
    dropped: int = 0
    """All of them."""
    site: int | None = None
    """The last layer on the way to it."""
    number: float | None = None
    """Of a number that the program writes: what it is; of a mask, the probability that it is not 0, if it
    compares numbers that are uniform in [0, 1)."""


@dataclass(frozen=True)
class Drop:
    """An equation that lets through a random part of a layer's output."""

    path: Path
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    """The equations around it, innermost first."""
    mask: int
    """The operand that is the mask."""
    kept: int | None
    """Of a `select_n`, the operand that is taken where the element is kept; `None` for a product."""
    site: int | None
    """The layer whose output it is."""
    asked: float | None
    """The probability that an element is kept, where the random numbers are uniform in [0, 1)."""
    last: bool
    """It reaches the loss, and no layer stands behind it."""


class _Dropout(Domain[Masked, Path]):
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.masks: dict[Path, int] = {}
        self.asked = 0
        """Masks that do something else, too."""
        self.found: dict[Path, Drop] = {}
        self.of: dict[Path, int] = {}
        """By dropout, its mask."""
        self.bits: dict[Path, int] = {}

    def literal(self, atom: Any, place: Path) -> Masked:
        del place
        real = is_real(atom.aval) and not np.iscomplexobj(atom.val)
        number = float(atom.val) if np.ndim(atom.val) == 0 and real else None
        return Masked(ZERO if jaxprs.is_zero(atom) else 0, number=number)

    def constant(self, value: Any, place: Path) -> Masked:
        del place
        return Masked(DATA if getattr(value, "size", 1) > 1 else 0)

    def below(self, visit: Visit[Masked, Path], entry: Entry) -> Path:
        return (*visit.place, visit.index, entry.number)

    def enters(self, visit: Visit[Masked, Path]) -> bool:
        # What stands inside cannot be changed from outside: a rule, or the part of one device.
        return not visit.inside.own_rule and visit.inside.shards is None

    def join(self, values: Sequence[Masked]) -> Masked:
        bits = masks = bare = dropped = 0
        for value in values:
            bits |= value.bits
            masks, bare, dropped = masks | value.masks, bare | value.bare, dropped | value.dropped
        numbers = {value.number for value in values}
        sites = [value.site for value in values if value.site is not None]
        if not all(value.bits & ZERO for value in values):
            bits &= ~ZERO
        number = numbers.pop() if len(numbers) == 1 else None
        return Masked(bits, masks, bare, dropped, max(sites, default=None), number)

    def after(self, eqn: JaxprEqn, outs: list[Masked], place: Path, index: int) -> list[Masked]:
        del eqn
        plan = plan_at(self._plan, place)
        site = plan.taps.get(index) if plan is not None else None
        if site is None:
            return outs
        return [replace(out, site=site.id) for out in outs]

    def plain(self, eqn: JaxprEqn, values: list[Masked], place: Path, index: int) -> list[Masked]:
        return [self._result(eqn, values, (*place, index))] * len(eqn.outvars)

    def _result(self, eqn: JaxprEqn, values: list[Masked], path: Path) -> Masked:
        name, every = eqn.primitive.name, self.join(values)
        if name == "random_bits":
            return Masked(RANDOM)
        if name in VIEWS or (name in PARTS and not every.masks):
            moved = every.bits if name in VIEWS else every.bits & ~ZERO
            return replace(every, bits=moved)
        if name in _COMPARISONS and every.bits & RANDOM and not every.bits & NETWORK and not every.masks:
            mask = self.masks.setdefault(path, 1 << len(self.masks))
            return Masked(0, mask, number=_probability(name, values))
        if every.masks:
            dropped = self._dropped(eqn, values, path)
            if dropped is not None:
                return dropped
            others = [value for value in values if not value.masks]
            plainly = name == "not" or (name in ("mul", "div") and all(not other.bits for other in others))
            if plainly:
                (number,) = [value.number for value in values if value.masks][:1]
                return Masked(0, every.masks, number=_other(number) if name == "not" else number)
            self.asked |= every.masks
        bits = every.bits & ~(WEIGHT | ZERO)
        return Masked(bits, 0, self._still_bare(eqn, values), every.dropped, every.site)

    def _dropped(self, eqn: JaxprEqn, values: list[Masked], path: Path) -> Masked | None:
        """The result, where the equation is a dropout."""
        name, mask, kept = eqn.primitive.name, 0, None
        if name == "select_n" and len(values) == 3 and values[0].masks:
            zeros = [place for place in (1, 2) if values[place].bits & ZERO]
            if len(zeros) != 1:
                return None
            kept = 3 - zeros[0]
            of = values[kept]
        elif name == "mul" and bool(values[0].masks) != bool(values[1].masks):
            mask = 0 if values[0].masks else 1
            of = values[1 - mask]
        else:
            return None
        if of.masks or of.bits & NETWORK != NETWORK or of.bits & WEIGHT:
            return None
        bit = self.bits.setdefault(path, 1 << len(self.bits))
        self.of[path] = self.of.get(path, 0) | values[mask].masks
        self.found[path] = Drop(
            path=path,
            eqn=eqn,
            calls=self.around[1:],
            mask=mask,
            kept=kept,
            site=of.site,
            asked=_other(values[mask].number) if kept == 1 else values[mask].number,
            last=False,
        )
        return Masked(of.bits & ~ZERO, 0, of.bare | bit, of.dropped | bit, of.site)

    def _still_bare(self, eqn: JaxprEqn, values: list[Masked]) -> int:
        """A product with what parameters make is a layer; so is a scale, and a function of the user's own
        that takes a parameter."""
        name, bare = eqn.primitive.name, 0
        alone = len(values) == 2 and eqn.invars[0] is eqn.invars[1]
        for place, value in enumerate(values):
            others = [other.bits for i, other in enumerate(values) if i != place and not alone]
            layer = (name in PRODUCTS and any(bits & PARAM for bits in others)) or (
                (name == "mul" or has_own_rule(eqn)) and any(bits & WEIGHT for bits in others)
            )
            bare |= 0 if layer else value.bare
        return bare


def _probability(comparison: str, values: Sequence[Masked]) -> float | None:
    """That it holds between random numbers in [0, 1) and a number, in this order or in the other."""
    first = bool(values[0].bits & RANDOM)
    number = values[1 if first else 0].number
    below = first == (comparison in ("lt", "le"))
    return number if below else _other(number)


def _other(probability: float | None) -> float | None:
    return None if probability is None else 1 - probability


def dropouts(body: Body, plan: Plan, leaves: int) -> list[Drop]:
    """Those that the loss depends on, in the order of the program; the first inputs are parameters, and the
    last one is the key."""
    if not jaxprs.has_primitive(body, frozenset({"random_bits"})):
        return []
    domain, count = _Dropout(plan), len(body.jaxpr.invars)
    inputs = [Masked(WEIGHT | PARAM)] * leaves + [Masked(DATA)] * (count - leaves - 1) + [Masked()]
    loss = walk(domain, body, inputs, ())[0]
    return [
        replace(each, last=bool(loss.bare & domain.bits[path]))
        for path, each in sorted(domain.found.items())
        if loss.dropped & domain.bits[path] and not domain.of[path] & domain.asked
    ]
