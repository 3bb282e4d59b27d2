"""Walks a program with intervals for values, and notes each operation that can stop being finite.

A hazard has a bit, as a leaf has in the dataflow analysis: what reads it, and whether a gradient comes
back to it, is known at the end. Nothing is noted inside custom rules, whose authors made their own
derivative, and inside functions of libraries that are known to be stable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.intervals.arrangements import some_of
from gradscope.trace.domains.intervals.candidates import BATCH, PARAMS, Candidate, is_guarded, matters
from gradscope.trace.domains.intervals.conditions import CONDITIONS, condition, select
from gradscope.trace.domains.intervals.dangers import danger_of, largest_exponent
from gradscope.trace.domains.intervals.known import NOTHING, Known, bits, interval, latest, replace
from gradscope.trace.domains.intervals.nested import NESTED
from gradscope.trace.domains.intervals.rules import RULES
from gradscope.trace.domains.intervals.stable import is_stable
from gradscope.trace.jaxprs import Body
from gradscope.trace.jaxprs.operands import operation
from gradscope.trace.sites import Measure, Plan, Probe
from gradscope.trace.vocabulary import NO_GRADIENT, SIDE_BY_SIDE, VIEWS, is_real

RESHAPED = frozenset({"reshape", "transpose", "squeeze", "expand_dims", "broadcast_in_dim", "rev"})
"""Views whose elements stand elsewhere."""

SMALL = 1024
"""Constants of so many elements are looked at: an epsilon, a list of scales."""


class Survey:
    """The state of one walk: names and bits handed out, candidates found so far."""

    def __init__(self, *, made_inputs: bool) -> None:
        """`made_inputs`: the loss takes no batch, so what it closes over is its data."""
        self._closed_over = Known(reads=BATCH if made_inputs else 0)
        self.candidates: dict[tuple[int, int], Candidate] = {}
        self.calls: list[JaxprEqn] = []
        self._names = 0
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._of_exp: dict[int, list[Candidate]] = {}

    def walk(self, body: Body, ins: Sequence[Known], plan: Plan | None) -> list[Known]:
        """What is known of the outputs of `body`; without a plan nothing is noted."""
        known: dict[Any, Known] = {}
        for var, value in zip(body.jaxpr.constvars, body.consts, strict=False):
            known[var] = self.named(_constant(value) or self._closed_over)
        known.update(zip(body.jaxpr.invars, map(self.named, ins), strict=True))
        source: dict[Any, Any] = {}

        def read(atom: Any) -> Known:
            if jaxprs.is_literal(atom):
                return _constant(np.asarray(atom.val, atom.aval.dtype)) or Known()
            return known.get(atom, Known())

        for index, eqn in enumerate(body.eqns):
            values = [read(atom) for atom in eqn.invars]
            _trace_back(eqn, source)
            nested = NESTED.get(eqn.primitive.name)
            if nested:
                self.calls.insert(0, eqn)
                outs = nested(self, eqn, values, plan, index)
                self.calls.pop(0)
            else:
                outs = self._plain(eqn, values, plan, index, source)
            site = plan.taps.get(index) if plan else None
            outs = [out if site is None else replace(out, site=site.id) for out in outs]
            known.update(zip(eqn.outvars, map(self.named, outs), strict=True))
        return [read(atom) for atom in body.jaxpr.outvars]

    def named(self, known: Known) -> Known:
        if not known.name:
            self._names += 1
            known = replace(known, name=self._names)
        return known if known.origin else replace(known, origin=known.name)

    def _plain(
        self, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int, source: dict[Any, Any]
    ) -> list[Known]:
        name = eqn.primitive.name
        reads, grad = bits(k.reads for k in ins), bits(k.grad for k in ins)
        candidate = self._candidate(eqn, ins, plan, index, source) if reads & (PARAMS | BATCH) else None
        if candidate:
            reads, grad = reads | candidate.bit, grad | candidate.bit
        found = self._found(eqn, ins)
        self._name_pattern(eqn, ins, candidate)
        if name == "exp" and found.high > 0:
            found = self.named(self._numbered(eqn, ins, found))
            found = replace(found, exps=frozenset({found.name}))
            if candidate:
                self._of_exp.setdefault(found.name, []).append(candidate)
        results = [self._numbered(eqn, ins, found)] if len(eqn.outvars) == 1 else _side_by_side(eqn, ins)
        passes = name not in NO_GRADIENT
        return [
            replace(out, reads=reads, grad=grad if passes and is_real(var.aval) else 0, site=latest(ins))
            for out, var in zip(results, eqn.outvars, strict=True)
        ]

    def _numbered(self, eqn: JaxprEqn, ins: Sequence[Known], found: Known) -> Known:
        """The same name for the same operation on the same values, written twice."""
        key = operation(eqn)
        if found.name or key is None:
            return found
        operands = [known.name or (known.low, known.high) for known in ins]
        number = self._numbers.setdefault((key, *operands), self._names + 1)
        self._names = max(self._names, number)
        return replace(found, name=number)

    def _found(self, eqn: JaxprEqn, ins: list[Known]) -> Known:
        name = eqn.primitive.name
        if name in CONDITIONS:
            return condition(name, ins)
        if name == "select_n":
            return select(ins[0], ins[1:])
        rule = RULES.get(name)
        found = rule(eqn, ins) if rule else Known()
        if name in RESHAPED:
            return replace(found, name=0)
        return found if name in VIEWS or name == "stop_gradient" else replace(found, name=0, origin=0)

    def _candidate(
        self, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int, source: dict[Any, Any]
    ) -> Candidate | None:
        danger = danger_of(eqn, ins) if plan is not None else None
        if danger is None or plan is None or not matters(danger, ins) or jaxprs.in_backward(eqn):
            return None
        if is_stable(eqn, self.calls):
            return None
        key = (id(plan), index)
        before = self.candidates.get(key)
        number = len(self.candidates) if before is None else -1 - before.probe.id
        operands = tuple(_origin(eqn.invars[i], source) for i in danger.operands)
        limit = largest_exponent(eqn) if danger.measure is Measure.OVERFLOW else 0.0
        self.candidates[key] = Candidate(
            kind=danger.kind,
            guarded=False,
            measure=danger.measure,
            eqn=eqn,
            calls=tuple(self.calls),
            operand=ins[danger.operands[0]],
            ins=tuple(ins),
            bit=1 << (number + 2),
            backward=danger.backward,
            plan=plan,
            index=index,
            probe=Probe(-1 - number, danger.measure, operands, plan.lead, limit),
        )
        return self.candidates[key]

    def _name_pattern(self, eqn: JaxprEqn, ins: list[Known], candidate: Candidate | None) -> None:
        """Tell an exponential by what becomes of it, and a guard that does not guard the gradient."""
        name = eqn.primitive.name
        if name == "log" and candidate and candidate.kind == "log-of-softmax":
            self._call_exps(ins[0].exps, "large-exponent")
        elif name in ("log", "log1p") and ins[0].exps:
            self._call_exps(ins[0].exps, "logsumexp-by-hand")
        elif name == "div" and ins[0].exps & ins[1].exps:
            self._call_exps(ins[0].exps & ins[1].exps, "softmax-by-hand")
        elif name == "select_n" and len(ins) == 3:
            for taken_if, case in enumerate(ins[1:]):
                self._find_guard(ins[0], bool(taken_if), case)

    def _call_exps(self, exps: frozenset[int], kind: str) -> None:
        for exp in exps:
            for candidate in self._of_exp.get(exp, ()):
                candidate.kind = kind

    def _find_guard(self, chosen: Known, taken_if: bool, case: Known) -> None:
        for candidate in self.candidates.values():
            if candidate.measure is Measure.OVERFLOW or not candidate.bit & case.grad:
                continue
            if any(k.grad & PARAMS for k in candidate.ins) and is_guarded(candidate, chosen, taken_if):
                candidate.guarded = True


def _trace_back(eqn: JaxprEqn, source: dict[Any, Any]) -> None:
    """Note the smaller variable that a broadcast one shows; after a cast it is the new one that is used."""
    if eqn.primitive.name not in VIEWS or len(eqn.invars) != 1 or jaxprs.is_literal(eqn.invars[0]):
        return
    origin = source.get(eqn.invars[0], eqn.invars[0])
    before, after = (getattr(var.aval, "dtype", None) for var in (origin, eqn.outvars[0]))
    if before == after:
        source[eqn.outvars[0]] = origin


def _origin(var: Any, source: dict[Any, Any]) -> Any:
    return var if jaxprs.is_literal(var) else source.get(var, var)


def _side_by_side(eqn: JaxprEqn, ins: Sequence[Known]) -> list[Known]:
    """Several results: each operand's in another order, or parts of the one operand."""
    if len(ins) == len(eqn.outvars) and eqn.primitive.name in SIDE_BY_SIDE | {"sort"}:
        return [some_of(eqn, [k]) for k in ins]
    parts = eqn.primitive.name in ("split", "unstack")
    return [some_of(eqn, ins) if parts else Known() for _ in eqn.outvars]


def _constant(value: Any) -> Known | None:
    """The range of a constant, where it is small."""
    if getattr(value, "size", 1) > SMALL or not getattr(value, "is_fully_addressable", True):
        return None
    if np.iscomplexobj(value) or jnp.issubdtype(getattr(value, "dtype", float), jax.dtypes.extended):
        return None
    array = np.asarray(value).astype(np.float64)
    if array.size == 0 or np.isnan(array).all():
        return NOTHING if array.size else None
    if np.isnan(array).any():
        return None
    return replace(interval(float(array.min()), float(array.max())), nonzero=bool((array != 0).all()))
