"""Where the output of a layer stands: at the product of weight and data, or further on.

A site moves on through a bias or a scale of the same parent (`x @ w` becomes `x @ w + b`) and through
the sum of two products of the same parent (`x @ wx + h @ wh`), so that one layer has one output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.sites import Kind, Plan, Site, Value
from gradscope.trace.stacks import Stacks
from gradscope.trace.tracks import NOTHING, Key, Track, Tracks, alike_placed, common, taken
from gradscope.trace.vocabulary import ELEMENTWISE, PARTS, SUMS_OVER_DEVICES, VIEWS, is_scale, scales


@dataclass(frozen=True)
class Spot:
    """A result of an equation, and where in the program the equation is."""

    eqn: JaxprEqn
    plan: Plan
    index: int
    aval: Any


class Placing:
    """Makes sites and moves them; `calls` gives the equations around the one at hand, innermost first."""

    def __init__(
        self,
        stacks: Stacks,
        same_parent: Callable[[int, int], bool],
        new_bit: Callable[[], int],
        calls: Callable[[], tuple[JaxprEqn, ...]],
    ) -> None:
        self._stacks = stacks
        self._same_parent = same_parent
        self._new_bit = new_bit
        self._calls = calls
        self._sites: dict[tuple[int, int], Site] = {}

    def consume(self, spot: Spot, weights: list[Value], ins: list[Value], out: Value) -> Value:
        """Weights meet data: a layer, or the bias or scale of the one whose output it is."""
        leaves = 0
        places: dict[Key, Track] = {}
        for weight in weights:
            leaves |= weight.leaves
            places.update(taken(weight.tracks, len(spot.plan.lead)))
        largest = max(weights, key=lambda v: len(v.shape))
        beside = self._stacks.along_others(largest, len(spot.plan.lead))
        vector = len(largest.shape) - beside <= 1
        for v in ins:
            if v.site is None or not v.whole or spot.eqn.primitive.name not in ELEMENTWISE:
                continue
            mine = self._same_parent(v.site.leaves, leaves) and not v.site.leaves & leaves
            constants = _constants(spot.eqn, weights, v.site)
            if mine and (vector or _is_part(largest.shape, v.site.weight)):
                if constants and v.site.applies:
                    break
                return self._move(spot, [v.site], out, leaves, places, constants)
        site = self._site(spot.plan, spot.index, spot.eqn, leaves)
        site.constants = _constants(spot.eqn, weights)
        site.depth = 1 + out.depth
        site.op, site.fan_in = spot.eqn.primitive.name, jaxprs.fan_in(spot.eqn)
        site.weight, site.places, site.beside = largest.shape, places, beside
        return self._settle(site, spot, out)

    def carry_on(self, spot: Spot, ins: list[Value], out: Value) -> Value:
        """Data alone: what of a layer's output it still is, or where this output stands now."""
        name = spot.eqn.primitive.name
        sited = [v for v in ins if v.site is not None]
        if not sited or sited[0].site is None:
            return out
        if name in VIEWS:
            return _same_site(out, sited[0])
        if name in PARTS:
            return replace(_same_site(out, sited[0]), whole=False)
        if name in SUMS_OVER_DEVICES:
            return self._move(spot, [sited[0].site], out)
        if name in ("mul", "div") and len(sited) == 1:
            if scales(spot.eqn, ins):
                return replace(_same_site(out, sited[0]), scaled=True)
            if sited[0].whole and is_scale(sited[0].site):
                return self._move(spot, [sited[0].site], out)
        if name in ("add", "add_any") and len(sited) == 2:
            return self._sum(spot, sited[0], sited[1], out)
        if name in ("add", "add_any") and any(v.kind is Kind.CONSTANT for v in ins):
            return _same_site(out, sited[0])
        if name == "concatenate" and len(sited) == len(ins) and _joins_long_parts(spot.eqn):
            return self._one_layer(spot, sited, out)
        return out

    def _one_layer(self, spot: Spot, parts: list[Value], out: Value) -> Value:
        """Taps of a convolution that are summed up, blocks of a matrix that are put side by side.

        Each is another place of one leaf, and meets data that has gone through no other.
        """
        sites = [v.site for v in parts if v.site is not None]
        first, upstream = sites[0], _upstream(parts[0])
        alike = all(
            site.lead == first.lead and site.leaves == first.leaves and _upstream(v) == upstream
            for v, site in zip(parts, sites, strict=True)
        )
        apart = {site.id for site in sites}
        direct = all(v.whole and not v.scaled for v in parts) and len(apart) == len(sites)
        if not (alike and direct and _are_places(sites)):
            return out
        places = common([site.places for site in sites])
        moved = self._move(spot, sites, out)
        if moved.site is not None:
            moved.site.places = dict(places)
        return moved

    def _sum(self, spot: Spot, a: Value, b: Value, out: Value) -> Value:
        first, second = a.site, b.site
        assert first is not None
        assert second is not None
        upstream = a.local & second.bit or b.local & first.bit
        if upstream or not (a.whole and b.whole):
            return out
        if first.leaves & second.leaves:
            return self._one_layer(spot, [a, b], out)
        alike = first.lead == second.lead and alike_placed(first.places, second.places)
        apart = not self._same_parent(first.leaves, second.leaves) or first.applies != second.applies
        return self._move(spot, [first, second], out) if alike and not apart else out

    def _move(
        self,
        spot: Spot,
        sites: list[Site],
        out: Value,
        leaves: int = 0,
        places: Tracks = NOTHING,
        constants: int = 0,
    ) -> Value:
        """One site further on takes the place of these."""
        first = sites[0]
        if first.lead != spot.plan.lead:
            return out
        site = self._site(spot.plan, spot.index, first.eqn, leaves)
        site.places, site.constants = places, constants
        for old in sites:
            site.leaves |= old.leaves
            site.constants |= old.constants
            site.replaced |= old.bit | old.replaced
            site.places = {**site.places, **old.places}
            if old.home is not None:
                old.home[0].taps.pop(old.home[1], None)
        site.calls, site.moved = first.calls, True
        site.op = first.op
        site.fan_in = sum(old.fan_in or 0 for old in sites) or None
        site.weight, site.beside = max(((old.weight, old.beside) for old in sites), key=lambda w: len(w[0]))
        site.depth = max(old.depth for old in sites)
        return self._settle(site, spot, out)

    def _site(self, plan: Plan, index: int, eqn: JaxprEqn | None, leaves: int) -> Site:
        key = (id(plan), index)
        if key not in self._sites:
            self._sites[key] = Site(len(self._sites), self._new_bit(), eqn, (), leaves, "", 0, plan.lead)
        site = self._sites[key]
        site.eqn, site.leaves, site.activation, site.moved = eqn, leaves, None, False
        site.constants = site.replaced = 0
        site.strides = {}
        site.calls = self._calls()
        return site

    def _settle(self, site: Site, spot: Spot, out: Value) -> Value:
        site.home, site.dtype = (spot.plan, spot.index), spot.aval.dtype
        site.value, site.spread = spot.aval.shape, out.tracks
        site.backward = site.eqn is not None and jaxprs.in_backward(site.eqn)
        spot.plan.taps[spot.index] = site
        bit = site.bit
        return replace(
            out,
            reads=out.reads | bit,
            grad=out.grad | bit,
            local=out.local | bit,
            site=site,
            whole=True,
            scaled=False,
            depth=site.depth,
        )

    def state_site(self, plan: Plan, position: int, aval: Any) -> Site:
        """A site at a loop's carried state, as it enters a step."""
        site = self._site(plan, -1 - position, None, 0)
        site.op, site.dtype = "state", aval.dtype
        plan.entry[position] = site
        return site


def _same_site(out: Value, of: Value) -> Value:
    return replace(out, site=of.site, whole=of.whole, scaled=of.scaled)


def _upstream(v: Value) -> int:
    """The sites that the data of a site has gone through."""
    return v.local if v.site is None else v.local & ~(v.site.bit | v.site.replaced)


def _are_places(sites: list[Site]) -> bool:
    """Of the same leaves, each at another index that is constant."""
    constant = all(track.size == 1 for site in sites for track in site.places.values())
    return constant and all(not alike_placed(sites[0].places, site.places) for site in sites[1:])


def _joins_long_parts(eqn: JaxprEqn) -> bool:
    """What `stack` takes has length one along the axis at which values are put side by side."""
    operands: list[Any] = list(eqn.invars)
    return all(var.aval.shape[jaxprs.axis_of(eqn)] > 1 for var in operands)


def _is_part(shape: tuple[int, ...], of: tuple[int, ...]) -> bool:
    """A bias may have several of the axes of its weight, as in attention."""
    return len(shape) < len(of) and not Counter(shape) - Counter(of)


def _constants(eqn: JaxprEqn, weights: list[Value], onto: Site | None = None) -> int:
    """The leaves that an equation does not apply as a weight, a bias or a scale, given whose output it takes.

    A bias is added to the output of a layer, an embedding of positions to data; a scale is a vector that
    multiplies either, and no function of the leaf.
    """
    found, name = 0, eqn.primitive.name
    if name not in ELEMENTWISE:
        return found
    for v in weights:
        of_layer = onto is not None and onto.applies
        bias = name in ("add", "add_any", "sub") and of_layer
        position = name in ("add", "add_any") and v.plain and len(v.shape) > 1
        of_data = onto is None and name == "mul"
        scale = name in ("mul", "div") and v.plain and bool(v.shape) and (of_layer or of_data)
        if not (bias or position or scale):
            found |= v.leaves
    return found
