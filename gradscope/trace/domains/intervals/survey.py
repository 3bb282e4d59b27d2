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
from gradscope.trace.domains.intervals.nested import Intervals, unknown
from gradscope.trace.domains.intervals.rules import RULES
from gradscope.trace.domains.located import Place
from gradscope.trace.jaxprs.operands import operation
from gradscope.trace.jaxprs.stable import is_stable
from gradscope.trace.nested.registry import inside
from gradscope.trace.sites import Measure, Plan, Probe
from gradscope.trace.vocabulary import NO_GRADIENT, SIDE_BY_SIDE, VIEWS, is_real

RESHAPED = frozenset({"reshape", "transpose", "squeeze", "broadcast_in_dim", "rev"})
"""Views whose elements stand elsewhere."""

SMALL = 1024
"""A constant of so many elements belongs to the program, as an epsilon or a list of scales; a larger one may
be data."""
LARGE = 2**20
"""The range of a constant of so many elements is taken: a matrix of filters, a table of positions."""


class Survey(Intervals):
    """The state of one walk: names and bits handed out, candidates found so far."""

    def __init__(self, *, made_inputs: bool) -> None:
        """`made_inputs`: the loss takes no batch, so what it closes over is its data."""
        self._closed_over = Known(reads=BATCH if made_inputs else 0)
        self.candidates: dict[tuple[int, int], Candidate] = {}
        self._names = 0
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._of_exp: dict[int, list[Candidate]] = {}
        self._source: dict[Any, Any] = {}
        """By variable that shows a smaller one broadcast, that one."""

    def literal(self, atom: Any, place: Place) -> Known:
        del place
        return _constant(np.asarray(atom.val, atom.aval.dtype)) or Known()

    def constant(self, value: Any, place: Place) -> Known:
        del place
        found = _constant(value)
        if found is None or getattr(value, "size", 1) <= SMALL:
            return found or self._closed_over
        return replace(found, reads=self._closed_over.reads)

    def bound(self, value: Known) -> Known:
        """A name for each value, the same one for the same value."""
        if not value.name:
            self._names += 1
            value = replace(value, name=self._names)
        return value if value.origin else replace(value, origin=value.name)

    def before(self, eqn: JaxprEqn, values: list[Known], place: Place, index: int) -> None:
        del values, place, index
        self._trace_back(eqn)

    def plain(self, eqn: JaxprEqn, values: list[Known], place: Place, index: int) -> list[Known]:
        if inside(eqn) is not None:
            return unknown(eqn, values)
        name = eqn.primitive.name
        reads, grad = bits(k.reads for k in values), bits(k.grad for k in values)
        candidate = self._candidate(eqn, values, place, index) if reads & (PARAMS | BATCH) else None
        if candidate:
            reads, grad = reads | candidate.bit, grad | candidate.bit
        found = self._found(eqn, values)
        self._name_pattern(eqn, values, candidate)
        if name == "exp" and found.high > 0:
            found = self.bound(self._numbered(eqn, values, found))
            found = replace(found, exps=frozenset({found.name}))
            if candidate:
                self._of_exp.setdefault(found.name, []).append(candidate)
        many = len(eqn.outvars) != 1
        results = _side_by_side(eqn, values) if many else [self._numbered(eqn, values, found)]
        passes = name not in NO_GRADIENT
        return [
            replace(out, reads=reads, grad=grad if passes and is_real(var.aval) else 0, site=latest(values))
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

    def _candidate(self, eqn: JaxprEqn, ins: list[Known], plan: Plan | None, index: int) -> Candidate | None:
        danger = danger_of(eqn, ins) if plan is not None else None
        if danger is None or plan is None or not matters(danger, ins) or jaxprs.in_backward(eqn):
            return None
        if is_stable(eqn, self.around[1:]):
            return None
        key = (id(plan), index)
        before = self.candidates.get(key)
        number = len(self.candidates) if before is None else -1 - before.probe.id
        operands = tuple(self._origin(eqn.invars[i]) for i in danger.operands)
        limit = largest_exponent(eqn) if danger.measure is Measure.OVERFLOW else 0.0
        self.candidates[key] = Candidate(
            kind=danger.kind,
            guarded=False,
            measure=danger.measure,
            eqn=eqn,
            calls=self.around[1:],
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
        elif name == "log" and ins[0].origin in ins[0].exps:
            self._call_exps(ins[0].exps, "log-of-exp")
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

    def _trace_back(self, eqn: JaxprEqn) -> None:
        """Note the smaller variable that a broadcast one shows; a cast one is shown by itself."""
        if eqn.primitive.name not in VIEWS or len(eqn.invars) != 1 or jaxprs.is_literal(eqn.invars[0]):
            return
        origin = self._origin(eqn.invars[0])
        before, after = (getattr(var.aval, "dtype", None) for var in (origin, eqn.outvars[0]))
        if before == after:
            self._source[eqn.outvars[0]] = origin

    def _origin(self, var: Any) -> Any:
        return var if jaxprs.is_literal(var) else self._source.get(var, var)


def _side_by_side(eqn: JaxprEqn, ins: Sequence[Known]) -> list[Known]:
    """Several results: each operand's in another order, or parts of the one operand."""
    if len(ins) == len(eqn.outvars) and eqn.primitive.name in SIDE_BY_SIDE | {"sort"}:
        return [some_of(eqn, [k]) for k in ins]
    parts = eqn.primitive.name in ("split", "unstack")
    return [some_of(eqn, ins) if parts else Known() for _ in eqn.outvars]


def _constant(value: Any) -> Known | None:
    """The range of a constant, where it is not too large to look at."""
    if getattr(value, "size", 1) > LARGE or not getattr(value, "is_fully_addressable", True):
        return None
    if np.iscomplexobj(value) or jnp.issubdtype(getattr(value, "dtype", float), jax.dtypes.extended):
        return None
    array = np.asarray(value).astype(np.float64)
    if array.size == 0 or np.isnan(array).all():
        return NOTHING if array.size else None
    if np.isnan(array).any():
        return None
    return replace(interval(float(array.min()), float(array.max())), nonzero=bool((array != 0).all()))
