"""Follows every parameter leaf from the inputs to the equations that consume it, and on to the loss.

One abstract run of the program with sets of bits for values: which leaves, sites and cuts a value
depends on, with and without a gradient. From it come the layers' sites (an equation in which a weight
meets data), and whether each leaf reaches the loss, by what, or where its gradient is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.provenance import Provenance
from gradscope.trace.follow import literal
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import has_own_rule
from gradscope.trace.placing import Placing, Spot
from gradscope.trace.sites import CutSite, Kind, Plan, Site, Value, join
from gradscope.trace.stacks import Stacks
from gradscope.trace.tracks import NOTHING, NUMBERS, of_constant
from gradscope.trace.vocabulary import (
    ELEMENTWISE,
    INDEXED,
    NO_GRADIENT,
    SIDE_BY_SIDE,
    VIEWS,
    activation,
    is_real,
    keeps_plain,
    reduces,
)
from gradscope.trace.walk import walk


class Flow(Provenance):
    """The state of one abstract run: the bits handed out, the sites and cuts found so far."""

    def __init__(
        self,
        shapes: Sequence[tuple[int, ...]],
        same_parent: Callable[[int, int], bool],
        *,
        made_inputs: bool,
    ) -> None:
        """`shapes` are those of the leaves.

        `made_inputs`: the loss takes no batch, so what it counts out itself (`linspace`) is its data.
        """
        leaves = len(shapes)
        self._made_inputs = made_inputs
        self.leaf_bits = (1 << leaves) - 1
        self.batch = 1 << leaves
        self.backward = 1 << (leaves + 1)
        self._next = leaves + 2
        stacks = Stacks(shapes)
        super().__init__(stacks, Placing(stacks, same_parent, self.new_bit, lambda: self.around))
        self._closed_over: dict[int, Value] = {}
        self._squashed: dict[Any, Site] = {}
        """Results of activation functions, and views of them, to the site that went in."""
        self.cuts: dict[tuple[int, int], CutSite] = {}
        self.opaque: dict[tuple[int, int], JaxprEqn] = {}

    def new_bit(self) -> int:
        self._next += 1
        return 1 << (self._next - 1)

    def walk(
        self, body: Body, values: Sequence[Value], plan: Plan, consts: Value | None = None
    ) -> list[Value]:
        """Values of the outputs of the whole program, given those of its inputs; sites go into `plan`.

        `consts`: what the arrays are that the program itself closes over, where they are not plain data.
        """
        if consts is not None:
            self._closed_over[id(plan)] = consts
        return walk(self, body, values, plan)

    def literal(self, atom: Any, place: Plan) -> Value:
        return Value(tracks=literal(atom, len(place.lead)))

    def constant(self, value: Any, place: Plan) -> Value:
        known = self._closed_over.get(id(place))
        return known or Value(Kind.DATA, tracks=of_constant(value, len(place.lead)))

    def before(self, eqn: JaxprEqn, values: list[Value], place: Plan, index: int) -> None:
        del place, index
        self._note_activation(eqn, values)

    def plain(self, eqn: JaxprEqn, values: list[Value], place: Plan, index: int) -> list[Value]:
        """An equation that is run as it is: a view, a consumer of weights, or anything else."""
        ins, plan, name = values, place, eqn.primitive.name
        if name in SIDE_BY_SIDE and len(ins) == len(eqn.outvars) > 1:
            return list(ins)
        lead = len(plan.lead)
        base = replace(join(ins), tracks=NOTHING, plain=keeps_plain(name, ins))
        tracks = self.stacks.follow(eqn, ins, lead)
        if name == "iota" and self._made_inputs:
            base = Value(Kind.DATA, self.batch, self.batch)
        if jaxprs.in_backward(eqn):
            base = replace(base, reads=base.reads | self.backward)
        passes = [name not in NO_GRADIENT and is_real(var.aval) for var in eqn.outvars]
        base = self._cut(eqn, ins, base, any(passes), plan, index)
        layers_inside = sum(v.is_weight() for v in ins) > (2 if has_own_rule(eqn) else 0)
        if layers_inside and jaxprs.carries_program(eqn):
            self.opaque[id(plan), index] = eqn
        outs = [
            replace(base, grad=base.grad if ok else 0, tracks=each)
            for ok, each in zip(passes, tracks, strict=True)
        ]
        if base.kind is Kind.WEIGHT:
            outs = [self.stacks.narrowed(out, lead) for out in outs]
        outs = [
            replace(out, reduced=out.reduced or reduces(out, var.aval))
            for out, var in zip(outs, eqn.outvars, strict=True)
        ]
        if any(passes):
            first = passes.index(True)
            outs[first] = self._place(Spot(eqn, plan, index, eqn.outvars[first].aval), ins, outs[first])
            site = plan.taps.get(index)
            if site is not None:
                site.position = first
                self._offer_outputs(site, outs, [i for i, ok in enumerate(passes) if ok and i != first])
        return [self.stacks.of_data(out, ins, lead) if out.kind is Kind.DATA else out for out in outs]

    def _offer_outputs(self, site: Site, outs: list[Value], others: list[int]) -> None:
        """An opaque call may hand on its layers' value at any of its outputs: the loss decides which."""
        for i in others:
            bit = site.outputs.setdefault(i, self.new_bit())
            outs[i] = replace(outs[i], reads=outs[i].reads | bit, grad=outs[i].grad | bit, depth=site.depth)

    def _cut(
        self, eqn: JaxprEqn, ins: list[Value], base: Value, passes: bool, plan: Plan, index: int
    ) -> Value:
        """Note a cut where a gradient that came in does not go out."""
        lost = base.grad & self.leaf_bits
        if passes or not lost:
            return base
        key = (id(plan), index)
        bit = self.cuts[key].bit if key in self.cuts else self.new_bit()
        on_weight = any(v.kind is Kind.WEIGHT and v.grad & lost for v in ins)
        self.cuts[key] = CutSite(bit, eqn, self.around, lost, on_weight)
        return replace(base, reads=base.reads | bit)

    def _place(self, spot: Spot, ins: list[Value], out: Value) -> Value:
        eqn, plan = spot.eqn, spot.plan
        name = eqn.primitive.name
        if out.kind is not Kind.DATA:
            return replace(out, site=None)
        weights = [v for v in ins if v.is_weight()]
        if name == "select_n" and all(v.kind is not Kind.DATA for v in ins[1:]):
            return replace(join(ins[1:]), reads=out.reads, grad=out.grad, tracks=out.tracks, plain=out.plain)
        known = all(NUMBERS in v.tracks for v in ins[1:])
        if name in INDEXED and (known or not self._reads_data(ins[1:])):
            if plan.indexed is not Kind.WEIGHT and not (known and ins[0].is_weight()):
                plan.indexed = ins[0].kind
            if ins[0].is_weight():
                row = replace(ins[0], grad=out.grad, reads=out.reads, tracks=out.tracks)
                return self.stacks.narrowed(row, len(plan.lead))
        if weights:
            adapted = self._adapted(eqn, ins, weights, spot.aval)
            if adapted is not None:
                return replace(adapted, reads=out.reads, grad=out.grad, tracks=out.tracks)
            return self.placing.consume(spot, weights, ins, out)
        return self.placing.carry_on(spot, ins, out)

    def _adapted(self, eqn: JaxprEqn, ins: list[Value], weights: list[Value], aval: Any) -> Value | None:
        """The weight itself, masked by something that is no data or moved by its own gradient (MAML)."""
        full = max(weights, key=lambda v: len(v.shape))
        shapes = [getattr(var.aval, "shape", ()) for var, v in zip(eqn.invars, ins, strict=True) if v is full]
        if eqn.primitive.name not in ELEMENTWISE or len(full.shape) < 2 or aval.shape not in shapes:
            return None
        others = [v for v in ins if v.kind is Kind.DATA]
        masked = all(not v.reads & (self.batch | self.leaf_bits) for v in others)
        moved = all(v.reads & self.backward and v.reads & full.leaves for v in others)
        return full if masked or moved else None

    def _note_activation(self, eqn: JaxprEqn, ins: list[Value]) -> None:
        sited = [v.site for v in ins if v.site is not None and v.site.activation is None]
        name = activation(eqn) if sited else None
        for site in sited:
            site.activation = name
        squashed = [None if jaxprs.is_literal(atom) else self._squashed.get(atom) for atom in eqn.invars]
        if name is not None:
            self._squashed[eqn.outvars[0]] = sited[0]
        elif eqn.primitive.name in VIEWS and (viewed := squashed[0]) is not None:
            self._squashed[eqn.outvars[0]] = viewed
        elif eqn.primitive.name == "mul" and all(value.kind is Kind.DATA for value in ins):
            for site in filter(None, squashed):
                site.gates = True

    def _reads_data(self, values: list[Value]) -> bool:
        """An index that comes from the batch or from the parameters, as in an embedding or a router."""
        return any(v.reads & (self.batch | self.leaf_bits) for v in values)
