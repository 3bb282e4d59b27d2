"""Follows every parameter leaf from the inputs to the equations that consume it, and on to the loss.

One abstract run of the program with sets of bits for values: which leaves, sites and cuts a value
depends on, with and without a gradient. From it come the layers' sites (an equation in which a weight
meets data), and whether each leaf reaches the loss, by what, or where its gradient is cut.

A site moves on through a bias or a scale of the same parent (`x @ w` becomes `x @ w + b`) and through
the sum of two products of the same parent (`x @ wx + h @ wh`), so that one layer has one output.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol

from jax.extend.core import JaxprEqn

from gradscope.trace import jax_compat
from gradscope.trace.jax_compat import Body
from gradscope.trace.sites import CutSite, Kind, Plan, Site, Value, join
from gradscope.trace.vocabulary import (
    CUSTOM,
    ELEMENTWISE,
    INDEXED,
    NO_GRADIENT,
    PARTS,
    SIDE_BY_SIDE,
    SUMS_OVER_DEVICES,
    VIEWS,
    activation,
    is_real,
    is_scale,
    keeps_rows,
    reduces,
    row_of,
    scales,
)


class FlowRule(Protocol):
    """How values pass through a primitive that carries a jaxpr; one file each in `prims/`."""

    def __call__(
        self, flow: Flow, eqn: JaxprEqn, values: list[Value], plan: Plan, index: int, /
    ) -> list[Value]: ...


FLOW_RULES: dict[str, FlowRule] = {}


class Flow:
    """The state of one abstract run: the bits handed out, the sites and cuts found so far."""

    def __init__(self, leaves: int, same_parent: Callable[[int, int], bool], *, made_inputs: bool) -> None:
        """`made_inputs`: the loss takes no batch, so what it counts out itself (`linspace`) is its data."""
        self._made_inputs = made_inputs
        self.leaf_bits = (1 << leaves) - 1
        self.batch = 1 << leaves
        self.backward = 1 << (leaves + 1)
        self._next = leaves + 2
        self._same_parent = same_parent
        self._calls: list[JaxprEqn] = []
        self._sites: dict[tuple[int, int], Site] = {}
        self.cuts: dict[tuple[int, int], CutSite] = {}
        self.opaque: dict[tuple[int, int], JaxprEqn] = {}
        self.pooled: dict[tuple[int, int], JaxprEqn] = {}

    def new_bit(self) -> int:
        self._next += 1
        return 1 << (self._next - 1)

    def walk(
        self, body: Body, values: Sequence[Value], plan: Plan, consts: Value | None = None
    ) -> list[Value]:
        """Values of the outputs of `body`, given those of its inputs; sites are written into `plan`."""
        known: dict[Any, Value] = {}
        for var in body.jaxpr.constvars:
            known[var] = consts or Value(Kind.DATA)
        known.update(zip(body.jaxpr.invars, values, strict=True))

        def read(atom: Any) -> Value:
            return Value() if jax_compat.is_literal(atom) else known[atom]

        for index, eqn in enumerate(body.eqns):
            ins = [read(atom) for atom in eqn.invars]
            rule = FLOW_RULES.get(eqn.primitive.name)
            self._note_activation(eqn, ins)
            self._calls.insert(0, eqn)
            outs = rule(self, eqn, ins, plan, index) if rule else self.plain(eqn, ins, plan, index)
            self._calls.pop(0)
            known.update(zip(eqn.outvars, outs, strict=True))
        return [read(atom) for atom in body.jaxpr.outvars]

    def plain(self, eqn: JaxprEqn, ins: list[Value], plan: Plan, index: int) -> list[Value]:
        """An equation that is run as it is: a view, a consumer of weights, or anything else."""
        name = eqn.primitive.name
        if name in SIDE_BY_SIDE and len(ins) == len(eqn.outvars) > 1:
            return [replace(v, rows=False) for v in ins]
        base = join(ins)
        if name == "iota" and self._made_inputs:
            base = Value(Kind.DATA, self.batch, self.batch)
        if jax_compat.in_backward(eqn):
            base = replace(base, reads=base.reads | self.backward)
        passes = [name not in NO_GRADIENT and is_real(var.aval) for var in eqn.outvars]
        base = self._cut(eqn, ins, base, any(passes), plan, index)
        taken = [v for v in ins if v.is_weight()]
        layers_inside = len(taken) > (2 if name in CUSTOM else 0)
        if layers_inside and jax_compat.carries_program(eqn):
            self.opaque[id(plan), index] = eqn
        outs = [
            replace(base, grad=base.grad if ok else 0, reduced=base.reduced or reduces(base, var.aval))
            for ok, var in zip(passes, eqn.outvars, strict=True)
        ]
        if base.kind is Kind.WEIGHT and base.rows:
            outs = [row_of(out, jax_compat.single_row(eqn, i)) for i, out in enumerate(outs)]
        if any(passes):
            first = passes.index(True)
            outs[first] = self._place(eqn, ins, outs[first], plan, index, first)
            site = plan.taps.get(index)
            if site is not None:
                site.position = first
                self._offer_outputs(site, outs, [i for i, ok in enumerate(passes) if ok and i != first])
        return outs

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
        self.cuts[key] = CutSite(bit, eqn, tuple(self._calls), lost, on_weight)
        return replace(base, reads=base.reads | bit)

    def _place(
        self, eqn: JaxprEqn, ins: list[Value], out: Value, plan: Plan, index: int, position: int
    ) -> Value:
        name = eqn.primitive.name
        aval: Any = eqn.outvars[position].aval
        if out.kind is not Kind.DATA:
            return replace(out, rows=out.rows and keeps_rows(eqn), site=None)
        weights = [v for v in ins if v.is_weight()]
        if name == "select_n" and all(v.kind is not Kind.DATA for v in ins[1:]):
            return replace(join(ins[1:]), reads=out.reads, grad=out.grad, rows=False)
        if name in INDEXED and not _reads_data(self, ins[1:]):
            if plan.indexed is not Kind.WEIGHT:
                plan.indexed = ins[0].kind
            if ins[0].is_weight():
                return replace(ins[0], rows=False, grad=out.grad, reads=out.reads)
        sited = [v for v in ins if v.site is not None]
        if weights:
            adapted = self._adapted(eqn, ins, weights, aval)
            if adapted is not None:
                return replace(adapted, reads=out.reads, grad=out.grad, rows=False)
            return self._consume(eqn, weights, sited, out, plan, index, aval)
        if name in VIEWS and sited:
            return replace(out, site=sited[0].site, whole=sited[0].whole)
        if name in PARTS and sited:
            return replace(out, site=sited[0].site, whole=False)
        if name in SUMS_OVER_DEVICES and sited and sited[0].site is not None:
            return self._move([sited[0].site], 0, out, plan, index, aval)
        if name in ("mul", "div") and len(sited) == 1 and sited[0].site is not None:
            if scales(eqn, ins):
                return replace(out, site=sited[0].site, whole=sited[0].whole)
            if sited[0].whole and is_scale(sited[0].site):
                return self._move([sited[0].site], 0, out, plan, index, aval)
        if name in ("add", "add_any") and len(sited) == 2:
            return self._sum(eqn, sited[0], sited[1], out, plan, index, aval)
        return out

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

    def _consume(
        self,
        eqn: JaxprEqn,
        weights: list[Value],
        sited: list[Value],
        out: Value,
        plan: Plan,
        index: int,
        aval: Any,
    ) -> Value:
        leaves = 0
        for weight in weights:
            leaves |= weight.leaves
        largest = max(weights, key=lambda v: len(v.shape))
        carried = [
            v for v in sited if v.whole and v.site is not None and self._extends(eqn, largest, v.site, leaves)
        ]
        if carried and carried[0].site is not None:
            return self._move([carried[0].site], leaves, out, plan, index, aval)
        site = self._site(plan, index, eqn, leaves)
        site.depth = 1 + out.depth
        site.op, site.fan_in = eqn.primitive.name, jax_compat.fan_in(eqn)
        site.axis, site.row, site.weight = largest.axis, largest.row, largest.shape
        return self._settle(site, out, plan, index, aval)

    def _extends(self, eqn: JaxprEqn, weight: Value, site: Site, leaves: int) -> bool:
        """A bias or a scale of the layer whose output it meets: a vector, or axes of its weight."""
        bias = len(weight.shape) <= 1 or (
            len(weight.shape) < len(site.weight) and not Counter(weight.shape) - Counter(site.weight)
        )
        mine = self._same_parent(site.leaves, leaves) and not site.leaves & leaves
        return eqn.primitive.name in ELEMENTWISE and bias and mine

    def _sum(self, eqn: JaxprEqn, a: Value, b: Value, out: Value, plan: Plan, index: int, aval: Any) -> Value:
        first, second = a.site, b.site
        assert first is not None
        assert second is not None
        upstream = a.local & second.bit or b.local & first.bit
        if upstream or not (a.whole and b.whole):
            return out
        alike = first.lead == second.lead and first.row == second.row and not first.leaves & second.leaves
        if not alike or not self._same_parent(first.leaves, second.leaves):
            return out
        return self._move([first, second], 0, out, plan, index, aval)

    def _move(self, sites: list[Site], leaves: int, out: Value, plan: Plan, index: int, aval: Any) -> Value:
        """One site further on takes the place of these."""
        first = sites[0]
        if first.lead != plan.lead:
            return out
        site = self._site(plan, index, first.eqn, leaves)
        for old in sites:
            site.leaves |= old.leaves
            if old.home is not None:
                old.home[0].taps.pop(old.home[1], None)
        site.calls, site.moved = first.calls, True
        site.op, site.axis, site.row = first.op, first.axis, first.row
        site.fan_in = sum(old.fan_in or 0 for old in sites) or None
        site.weight = max((old.weight for old in sites), key=len)
        site.depth = max(old.depth for old in sites)
        return self._settle(site, out, plan, index, aval)

    def _site(self, plan: Plan, index: int, eqn: JaxprEqn | None, leaves: int) -> Site:
        key = (id(plan), index)
        if key not in self._sites:
            self._sites[key] = Site(len(self._sites), self.new_bit(), eqn, (), leaves, "", 0, plan.lead)
        site = self._sites[key]
        site.eqn, site.leaves, site.activation, site.moved = eqn, leaves, None, False
        site.calls = tuple(self._calls)
        return site

    def _settle(self, site: Site, out: Value, plan: Plan, index: int, aval: Any) -> Value:
        site.home, site.dtype = (plan, index), aval.dtype
        site.backward = site.eqn is not None and jax_compat.in_backward(site.eqn)
        plan.taps[index] = site
        bit = site.bit
        return replace(
            out,
            reads=out.reads | bit,
            grad=out.grad | bit,
            local=out.local | bit,
            site=site,
            whole=True,
            depth=site.depth,
        )

    def state_site(self, plan: Plan, position: int, aval: Any) -> Site:
        """A site at a loop's carried state, as it enters a step."""
        site = self._site(plan, -1 - position, None, 0)
        site.op, site.dtype = "state", aval.dtype
        plan.entry[position] = site
        return site

    def _note_activation(self, eqn: JaxprEqn, ins: list[Value]) -> None:
        sited = [v.site for v in ins if v.site is not None and v.site.activation is None]
        name = activation(eqn) if sited else None
        for site in sited:
            site.activation = name


def _reads_data(flow: Flow, values: list[Value]) -> bool:
    """An index that comes from the batch or from the parameters, as in an embedding or a router."""
    return any(v.reads & (flow.batch | flow.leaf_bits) for v in values)
