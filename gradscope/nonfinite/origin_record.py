"""Turns an origin into its record: the forward operation, its operands, the layer, what led up to it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.nonfinite.causes import SPECTRA, cause_of
from gradscope.nonfinite.forward import ForwardOperations, Path, operands_at
from gradscope.nonfinite.nonfinite_origin import CONSTANT, NonFiniteOrigin, Occurrence, Trace
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
    "stack",
    "pad",
    "gather",
    "dynamic_slice",
    "select_n",
    "squeeze",
}
"""Operations that compute nothing, which are left out of what led up to the origin."""
PASSES_ZERO = QUIET | {"mul", "neg", "add_any", "reduce_sum", "dot_general", "transpose"}
SEARCHED = 64
SEARCHED_FOR_LAYER = 1000


@dataclass(frozen=True)
class RecordContext:
    """The run in which an origin was found."""

    program: Program
    inputs: Inputs
    forward: ForwardOperations
    poisoned: tuple[str, ...]
    loss: float


def to_record(origin: NonFiniteOrigin, became: NonFiniteOrigin | None, context: RecordContext) -> Origin:
    """The record of `origin`; `became` is the origin of the NaN that the infinity turned into."""
    if origin.leaf is not None:
        return _record_of_input(origin, became, context)
    assert origin.occurrence is not None
    occurrence = origin.occurrence
    path = context.forward.of(occurrence)
    library = jaxprs.library(*(path[-1], path[-2::-1]) if path else (occurrence.eqn, occurrence.calls))
    record = Origin(
        op=occurrence.eqn.primitive.name,
        operands=origin.operands,
        result=origin.result,
        made_by=tuple(map(_producer_name, origin.operand_traces)),
        backward=occurrence.backward,
        cause=Cause.OTHER,
        source=_source(occurrence, path),
        dtype=origin.dtype,
        derivative_of=None if occurrence.primal or path is None else _name(path),
        forward_operands=()
        if occurrence.primal or path is None
        else _forward_operands(origin, path, context),
        became=_calculation(became) if became is not None else None,
        masked=_masked(became or origin) or (occurrence.primal and math.isfinite(context.loss)),
        library=library.name,
        settings=library.settings,
        within=_functions(path[:-1] if path else occurrence.calls[::-1]),
        steps=occurrence.steps,
        elements=origin.elements,
        size=math.prod(origin.shape),
        layer=_layer(origin, path, context),
        poisoned=context.poisoned,
        lead_up=_lead_up(origin),
    )
    named = replace(record, cause=cause_of(record))
    if path is not None and not occurrence.primal and _has_users_rule(path):
        own = source_of(occurrence.eqn, ()) if jaxprs.rule_of(occurrence.eqn) is not None else None
        return replace(named, cause=Cause.CUSTOM_RULE, source=own or record.source)
    return named


def _record_of_input(
    origin: NonFiniteOrigin, became: NonFiniteOrigin | None, context: RecordContext
) -> Origin:
    assert origin.leaf is not None
    weight = next((leaf for leaf in context.program.leaves if leaf.name == origin.leaf), None)
    cause = Cause.CONSTANT if origin.leaf == CONSTANT else Cause.PARAMETER if weight else Cause.BATCH
    occurrence = origin.occurrence
    path = context.forward.of(occurrence) if occurrence is not None else None
    return Origin(
        op=origin.leaf,
        operands=(),
        result=float(origin.kind),
        made_by=(),
        backward=False,
        cause=cause,
        source=_source(occurrence, path) if occurrence is not None else None,
        became=_calculation(became) if became is not None else None,
        elements=origin.elements,
        size=math.prod(origin.shape),
        poisoned=context.poisoned,
    )


def _calculation(origin: NonFiniteOrigin) -> Calculation:
    assert origin.occurrence is not None
    return Calculation(origin.occurrence.eqn.primitive.name, origin.operands, origin.result)


def source_at(occurrence: Occurrence, forward: ForwardOperations) -> Source | None:
    """The user's line of the operation."""
    return _source(occurrence, forward.of(occurrence))


def _source(occurrence: Occurrence, path: Path | None) -> Source | None:
    """The line of the forward operation: the calls around a derivative are those of JAX."""
    if path is not None:
        return source_of(path[-1], path[-2::-1])
    return source_of(occurrence.eqn, occurrence.calls)


def _name(path: Path) -> str:
    eqn = path[-1]
    return (jaxprs.function_name(eqn) if is_called(eqn) else "") or eqn.primitive.name


def _functions(calls: Sequence[object]) -> tuple[str, ...]:
    names = [jaxprs.function_name(call) for call in reversed(calls)]  # type: ignore[arg-type]
    return tuple(name for name in names if name)


def _has_users_rule(path: Path) -> bool:
    return has_own_rule(path[-1]) and jaxprs.is_users_function(path[-1])


def _producer_name(trace: Trace | None) -> str:
    """The operation that computed a value, skipping those that only rearrange it."""
    while trace is not None and trace.occurrence.eqn.primitive.name in QUIET and trace.operands:
        trace = trace.operands[-1]
    return "" if trace is None else trace.occurrence.eqn.primitive.name


def _forward_operands(origin: NonFiniteOrigin, path: Path, context: RecordContext) -> tuple[float, ...]:
    assert origin.occurrence is not None
    args = [*context.inputs.weights, *context.inputs.others]
    values = operands_at(context.program.body, args, path, origin.occurrence.steps)
    if values is None or is_called(path[-1]):
        return ()
    values = [value for value in values if not _is_key(value)]
    if path[-1].primitive.name in SPECTRA:
        return ()
    shape = tuple(path[-1].outvars[0].aval.shape)  # type: ignore[attr-defined]
    if shape != origin.shape:
        return tuple(_nearest_to_zero(value) for value in values)
    return tuple(element(value, origin.index, shape) for value in values)


def _is_key(value: object) -> bool:
    return bool(jnp.issubdtype(getattr(value, "dtype", float), jax.dtypes.prng_key))


def _nearest_to_zero(value: object) -> float:
    """The operand nearest to the singularity, where derivative and operation differ in shape."""
    host = np.asarray(value)
    if not host.size or host.dtype.kind not in "fiu":
        return element(value, (), (-1,))
    return float(host.reshape(-1)[np.argmin(np.abs(np.nan_to_num(host, nan=np.inf)))])


def _masked(origin: NonFiniteOrigin) -> bool:
    """The zero that met the infinity comes from a `where`, through operations that propagate zeros."""
    starts = [
        trace
        for trace, value in zip(origin.operand_traces, origin.operands, strict=True)
        if trace is not None and value == 0 and trace.occurrence.backward
    ]
    for trace in _ancestors(starts, lambda t: t.occurrence.eqn.primitive.name in PASSES_ZERO):
        if trace.occurrence.eqn.primitive.name == "select_n" and trace.occurrence.backward:
            return True
    return False


def _producers(origin: NonFiniteOrigin) -> list[Trace]:
    """What computed the operands; for a derivative only what ran in the forward pass."""
    given = [trace for trace in origin.operand_traces if trace is not None]
    return [trace for trace in given if not trace.occurrence.backward] or given


def _lead_up(origin: NonFiniteOrigin) -> tuple[Operation, ...]:
    """The nearest computations, in the order in which they ran."""
    found: list[Trace] = []
    for trace in _ancestors(_producers(origin)):
        finite_or_bad = trace.value_range.bad or not math.isnan(trace.value_range.low)
        if trace.occurrence.eqn.primitive.name not in QUIET and finite_or_bad:
            found.append(trace)
        if len(found) == LEAD_UP:
            break
    return tuple(_operation(trace) for trace in sorted(found, key=lambda trace: trace.number))


def _ancestors(
    starts: Sequence[Trace], passes: Callable[[Trace], bool] = lambda trace: True, most: int = SEARCHED
) -> Iterator[Trace]:
    """Breadth first, each once; what does not pass is yielded but not followed."""
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
    occurrence, found = trace.occurrence, trace.value_range
    source = source_of(occurrence.eqn, occurrence.calls)
    return Operation(occurrence.eqn.primitive.name, source, found.low, found.high, found.bad)


def _layer(origin: NonFiniteOrigin, path: Path | None, context: RecordContext) -> str | None:
    """The layer that the operands come from, or else the last one that ran before."""
    assert origin.occurrence is not None
    layers = context.program.layers
    sites = list(dict.fromkeys(site for group in layers for site in group.sites))
    made = {_key(site.eqn): site for site in sites if site.eqn is not None}
    if len(made) == len(sites):
        for trace in _ancestors(_producers(origin), most=SEARCHED_FOR_LAYER):
            owner = made.get(_key(trace.occurrence.eqn))
            if owner is not None:
                return layer_at(layers, owner, origin.occurrence.steps)
    if path is None:
        return None
    order = context.forward.order
    here = order[id(path[-1])]
    before = [(order.get(id(site.eqn), here + 1), site) for site in sites]
    ran = [each for each in before if each[0] <= here]
    last = max(ran, key=lambda each: each[0], default=None)
    return layer_at(layers, last[1], origin.occurrence.steps) if last else None


def _key(eqn: JaxprEqn) -> tuple[int, str]:
    return jaxprs.made_at(eqn), eqn.primitive.name
