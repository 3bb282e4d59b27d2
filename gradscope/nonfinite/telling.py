"""From a birth to the record: the forward operation, its operands, the layer, what led up to it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.nonfinite.births import CONSTANT, Birth, Place, Trace
from gradscope.nonfinite.causes import SPECTRA, cause_of
from gradscope.nonfinite.forward import Forward, Path, operands_at
from gradscope.nonfinite.values import element
from gradscope.nonfinite.walk import MOVES
from gradscope.records import Calculation, Cause, Operation, Origin, Source
from gradscope.trace import jaxprs
from gradscope.trace.layers import layer_at
from gradscope.trace.nested.registry import has_own_rule, is_called
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of

LEAD_UP = 6
QUIET = MOVES | {
    "convert_element_type",
    "concatenate",
    "pad",
    "gather",
    "dynamic_slice",
    "select_n",
    "squeeze",
}
"""Left out of what led up to it: they compute nothing."""
PASSES_ZERO = QUIET | {"mul", "neg", "add_any", "reduce_sum", "dot_general", "transpose"}
SEARCHED = 64
SEARCHED_FOR_LAYER = 1000


@dataclass(frozen=True)
class Context:
    program: Program
    inputs: Inputs
    forward: Forward
    poisoned: tuple[str, ...]
    loss: float


def told(birth: Birth, became: Birth | None, context: Context) -> Origin:
    """`became` is the NaN that the infinity turned into."""
    if birth.leaf is not None:
        return _told_leaf(birth, became, context)
    assert birth.place is not None
    place = birth.place
    path = context.forward.of(place)
    origin = Origin(
        op=place.eqn.primitive.name,
        operands=birth.operands,
        result=birth.result,
        made_by=tuple(map(_maker, birth.operand_traces)),
        backward=place.backward,
        cause=Cause.OTHER,
        source=_source(place, path),
        dtype=birth.dtype,
        derivative_of=None if place.primal or path is None else _name(path),
        forward_operands=() if place.primal or path is None else _forward_operands(birth, path, context),
        became=_calculation(became) if became is not None else None,
        masked=_masked(became or birth) or (place.primal and math.isfinite(context.loss)),
        within=_functions(path[:-1] if path else place.calls[::-1]),
        steps=place.steps,
        elements=birth.elements,
        size=math.prod(birth.shape),
        layer=_layer(birth, path, context),
        poisoned=context.poisoned,
        lead_up=_lead_up(birth),
    )
    named = replace(origin, cause=cause_of(origin))
    if path is not None and not place.primal and _has_users_rule(path):
        own = source_of(place.eqn, ()) if jaxprs.rule_of(place.eqn) is not None else None
        return replace(named, cause=Cause.CUSTOM_RULE, source=own or origin.source)
    return named


def _told_leaf(birth: Birth, became: Birth | None, context: Context) -> Origin:
    assert birth.leaf is not None
    weight = next((leaf for leaf in context.program.leaves if leaf.name == birth.leaf), None)
    cause = Cause.CONSTANT if birth.leaf == CONSTANT else Cause.PARAMETER if weight else Cause.BATCH
    place = birth.place
    path = context.forward.of(place) if place is not None else None
    return Origin(
        op=birth.leaf,
        operands=(),
        result=float(birth.kind),
        made_by=(),
        backward=False,
        cause=cause,
        source=_source(place, path) if place is not None else None,
        became=_calculation(became) if became is not None else None,
        elements=birth.elements,
        size=math.prod(birth.shape),
        poisoned=context.poisoned,
    )


def _calculation(birth: Birth) -> Calculation:
    assert birth.place is not None
    return Calculation(birth.place.eqn.primitive.name, birth.operands, birth.result)


def _source(place: Place, path: Path | None) -> Source | None:
    """Of the forward operation: the calls around a derived one are JAX's."""
    if path is not None:
        return source_of(path[-1], path[-2::-1])
    return source_of(place.eqn, place.calls)


def _name(path: Path) -> str:
    eqn = path[-1]
    return (jaxprs.function_name(eqn) if is_called(eqn) else "") or eqn.primitive.name


def _functions(calls: Sequence[object]) -> tuple[str, ...]:
    names = [jaxprs.function_name(call) for call in reversed(calls)]  # type: ignore[arg-type]
    return tuple(name for name in names if name)


def _has_users_rule(path: Path) -> bool:
    return has_own_rule(path[-1]) and jaxprs.is_users_function(path[-1])


def _maker(trace: Trace | None) -> str:
    """Through what only arranges a value anew."""
    while trace is not None and trace.place.eqn.primitive.name in QUIET and trace.operands:
        trace = trace.operands[-1]
    return "" if trace is None else trace.place.eqn.primitive.name


def _forward_operands(birth: Birth, path: Path, context: Context) -> tuple[float, ...]:
    assert birth.place is not None
    args = [*context.inputs.weights, *context.inputs.others]
    values = operands_at(context.program.body, args, path, birth.place.steps)
    if values is None or is_called(path[-1]):
        return ()
    if path[-1].primitive.name in SPECTRA:
        return ()
    shape = tuple(path[-1].outvars[0].aval.shape)  # type: ignore[attr-defined]
    if shape != birth.shape:
        return tuple(_nearest_to_zero(value) for value in values)
    return tuple(element(value, birth.index, shape) for value in values)


def _nearest_to_zero(value: object) -> float:
    """Where the derivative has another shape than the operation, its most dangerous operand."""
    host = np.asarray(value)
    if not host.size or host.dtype.kind not in "fiu":
        return element(value, (), (-1,))
    return float(host.reshape(-1)[np.argmin(np.abs(np.nan_to_num(host, nan=np.inf)))])


def _masked(birth: Birth) -> bool:
    """The zero that met the infinity comes out of a `where`, through operations that pass zeros on."""
    starts = [
        trace
        for trace, value in zip(birth.operand_traces, birth.operands, strict=True)
        if trace is not None and value == 0 and trace.place.backward
    ]
    for trace in _ancestors(starts, lambda t: t.place.eqn.primitive.name in PASSES_ZERO):
        if trace.place.eqn.primitive.name == "select_n" and trace.place.backward:
            return True
    return False


def _ahead(birth: Birth) -> list[Trace]:
    """What its operands were computed by; of a derivative what was computed in the forward pass."""
    given = [trace for trace in birth.operand_traces if trace is not None]
    return [trace for trace in given if not trace.place.backward] or given


def _lead_up(birth: Birth) -> tuple[Operation, ...]:
    """The nearest computations, in the order in which they ran."""
    found: list[Trace] = []
    for trace in _ancestors(_ahead(birth)):
        finite_or_bad = trace.survey.bad or not math.isnan(trace.survey.low)
        if trace.place.eqn.primitive.name not in QUIET and finite_or_bad:
            found.append(trace)
        if len(found) == LEAD_UP:
            break
    return tuple(_operation(trace) for trace in sorted(found, key=lambda trace: trace.number))


def _ancestors(
    starts: Sequence[Trace], passes: Callable[[Trace], bool] = lambda trace: True, most: int = SEARCHED
) -> Iterator[Trace]:
    """Breadth first, each once; what does not pass is given but not followed."""
    queue, seen = deque(starts), set(map(id, starts))
    for _ in range(most):
        if not queue:
            return
        trace = queue.popleft()
        yield trace
        if passes(trace):
            for operand in trace.operands:
                if id(operand) not in seen:
                    seen.add(id(operand))
                    queue.append(operand)


def _operation(trace: Trace) -> Operation:
    place, found = trace.place, trace.survey
    source = source_of(place.eqn, place.calls)
    return Operation(place.eqn.primitive.name, source, found.low, found.high, found.bad)


def _layer(birth: Birth, path: Path | None, context: Context) -> str | None:
    """The layer that the operands come from, or else the one whose product ran last before."""
    assert birth.place is not None
    layers = context.program.layers
    sites = list(dict.fromkeys(site for group in layers for site in group.sites))
    made = {_key(site.eqn): site for site in sites if site.eqn is not None}
    if len(made) == len(sites):
        for trace in _ancestors(_ahead(birth), most=SEARCHED_FOR_LAYER):
            owner = made.get(_key(trace.place.eqn))
            if owner is not None:
                return layer_at(layers, owner, birth.place.steps)
    if path is None:
        return None
    order = context.forward.order
    here = order[id(path[-1])]
    before = [(order.get(id(site.eqn), here + 1), site) for site in sites]
    ran = [each for each in before if each[0] <= here]
    last = max(ran, key=lambda each: each[0], default=None)
    return layer_at(layers, last[1], birth.place.steps) if last else None


def _key(eqn: JaxprEqn) -> tuple[int, str]:
    return jaxprs.made_at(eqn), eqn.primitive.name
