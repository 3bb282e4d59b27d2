"""How tracks pass through plain equations: one short rule for each kind of equation.

What has no rule here loses its tracks, and a layer behind it is not told from its neighbours in the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Lookup
from gradscope.trace.nested.registry import is_called
from gradscope.trace.tracks import (
    LONGEST,
    NOTHING,
    NUMBERS,
    Key,
    Same,
    Track,
    Tracks,
    joined,
    merged,
    moved,
    of_number,
    picked,
    reshaped,
)
from gradscope.trace.walk import straight

ELEMENTWISE = frozenset(
    {"add", "add_any", "sub", "mul", "div", "max", "min", "pow", "integer_pow", "neg", "abs", "sign", "exp"}
    | {"exp2", "log", "log1p", "expm1", "tanh", "logistic", "sin", "cos", "sqrt", "rsqrt", "cbrt", "square"}
    | {"erf", "erfc", "erf_inv", "atan2", "convert_element_type", "select_n", "stop_gradient", "copy"}
    | {"copy_p", "clamp", "reduce_precision", "name", "optimization_barrier", "sharding_constraint"}
    | {"device_put", "reshard", "real", "imag", "is_finite", "round", "floor", "ceil", "pvary", "pcast"}
)
"""Operations that leave every element where it is, and take operands of one shape or scalars."""

ARITHMETIC: dict[str, Callable[..., Any]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "max": np.maximum,
    "min": np.minimum, "rem": np.fmod, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal, "and": np.bitwise_and,
    "or": np.bitwise_or, "div": lambda a, b: np.trunc(a / b), "sign": np.sign, "abs": np.abs,
    "convert_element_type": np.positive, "copy": np.positive,
    "clamp": lambda low, x, high: np.clip(x, low, high),
    "select_n": lambda which, *cases: np.select([which == i for i in range(len(cases))], cases),
}  # fmt: skip
"""What is worked out of whole numbers that are known, as running indices are."""


def follow(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int, same: Same) -> list[Tracks]:
    """The tracks of the results of an equation, given those of its operands."""
    nothing = [NOTHING] * len(eqn.outvars)
    name = eqn.primitive.name
    if name == "iota":
        return [_counting(eqn, lead)]
    if not any(ins):
        return nothing
    if is_called(eqn):
        return _through(eqn, ins, lead, same)
    rule = RULES.get(name)
    if rule is not None:
        return rule(eqn, ins, lead)
    if name in ARITHMETIC and (numbers := _computed(eqn, ins)) is not None:
        return [numbers]
    if name in ELEMENTWISE:
        return [_elementwise(eqn, ins, lead, same)] if len(eqn.outvars) == 1 else list(ins)
    to = jaxprs.moves(eqn)
    if to is None:
        return nothing
    rank = len(_shape(eqn.outvars[0]))
    parts = [moved(tracks, lead, axes, rank) for tracks, axes in zip(ins, to, strict=True)]
    return [merged([_less_numbers(part) for part in parts] if len(parts) > 1 else parts, lead, same)]


def _through(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int, same: Same) -> list[Tracks]:
    """A function whose derivative is its own affair: what it does to its operands is plain."""

    def equation(_: int, inner: JaxprEqn, values: list[Tracks]) -> list[Tracks]:
        return follow(inner, values, lead, same)

    body = jaxprs.called_body(eqn)
    nothing = [NOTHING] * len(body.consts)
    return straight(body, ins, nothing, lambda atom: literal(atom, lead), equation)


def literal(atom: Any, lead: int) -> Tracks:
    whole = np.ndim(atom.val) == 0 and np.asarray(atom.val).dtype.kind in "iub"
    return of_number(int(atom.val), lead) if whole else NOTHING


def _counting(eqn: JaxprEqn, lead: int) -> Tracks:
    shape, axis = jaxprs.counted_along(eqn)
    if shape[axis] > LONGEST:
        return NOTHING
    size = [shape[axis] if other == axis else 1 for other in range(len(shape))]
    return {NUMBERS: np.arange(shape[axis]).reshape((*(1,) * lead, *size))}


def _computed(eqn: JaxprEqn, ins: Sequence[Tracks]) -> Tracks | None:
    numbers = [tracks.get(NUMBERS) for tracks in ins]
    if any(n is None for n in numbers):
        return None
    if getattr(eqn.outvars[0].aval, "dtype", np.dtype("f4")).kind not in "iub":
        return NOTHING
    rank = max(n.ndim for n in numbers if n is not None)
    spread = [n.reshape((*n.shape, *(1,) * (rank - n.ndim))) for n in numbers if n is not None]
    with np.errstate(all="ignore"):
        result = np.asarray(ARITHMETIC[eqn.primitive.name](*spread)).astype(np.intp)
    return {NUMBERS: result} if result.size <= LONGEST else NOTHING


def _elementwise(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int, same: Same) -> Tracks:
    shape = _shape(eqn.outvars[0])
    parts = []
    for var, tracks in zip(eqn.invars, ins, strict=True):
        scalar = not _shape(var) and shape
        parts.append(moved(tracks, lead, (), len(shape)) if scalar else tracks)
    return merged([_less_numbers(part) for part in parts], lead, same)


def _less_numbers(tracks: Tracks) -> Tracks:
    return {k: t for k, t in tracks.items() if k != NUMBERS} if NUMBERS in tracks else tracks


def _reshape(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int) -> list[Tracks]:
    order, shape = jaxprs.order_before(eqn), _shape(eqn.invars[0])
    turned = moved(ins[0], lead, [order.index(axis) for axis in range(len(order))], len(order))
    return [reshaped(turned, lead, [shape[axis] for axis in order], _shape(eqn.outvars[0]))]


def _slice(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int) -> list[Tracks]:
    places = [np.arange(*bounds) for bounds in jaxprs.slices(eqn)]
    found = {}
    for key, track in ins[0].items():
        for axis, chosen in enumerate(places):
            track = picked(track, lead + axis, chosen)
        found[key] = track
    return [found]


def _concatenate(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int) -> list[Tracks]:
    axis = jaxprs.axis_of(eqn)
    return [joined(ins, lead, axis, [_shape(var)[axis] for var in eqn.invars])]


def _stack(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int) -> list[Tracks]:
    axis = jaxprs.axis_of(eqn)
    apart = [{k: np.expand_dims(t, lead + axis) for k, t in tracks.items()} for tracks in ins]
    return [joined(apart, lead, axis, [1] * len(ins))]


def _split(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int) -> list[Tracks]:
    axis, start = jaxprs.axis_of(eqn), 0
    found: list[Tracks] = []
    for var in eqn.outvars:
        size = _shape(var)[axis]
        places = np.arange(start, start + size)
        found.append({key: picked(track, lead + axis, places) for key, track in ins[0].items()})
        start += size
    return found


def _unstack(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int) -> list[Tracks]:
    axis = lead + jaxprs.axis_of(eqn)
    return [
        {k: np.squeeze(picked(t, axis, np.array([i])), axis) for k, t in ins[0].items()}
        for i in range(len(eqn.outvars))
    ]


def _dynamic_slice(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int) -> list[Tracks]:
    starts = [tracks.get(NUMBERS) for tracks in ins[1:]]
    return [_looked_up(eqn, ins[0], dict(enumerate(starts)), lead)]


def _gather(eqn: JaxprEqn, ins: Sequence[Tracks], lead: int) -> list[Tracks]:
    about, numbers = jaxprs.lookup(eqn), ins[1].get(NUMBERS)
    starts: dict[int, Track | None] = dict.fromkeys(about.indexed)
    if numbers is not None:
        for component, axis in enumerate(about.indexed):
            place = component if numbers.shape[-1] > 1 else 0
            starts[axis] = numbers[..., place]
    return [_looked_up(eqn, ins[0], starts, lead)]


def _looked_up(eqn: JaxprEqn, tracks: Tracks, starts: dict[int, Track | None], lead: int) -> Tracks:
    """A track along an axis that is indexed survives where the index is known."""
    about, shape, result = jaxprs.lookup(eqn), _shape(eqn.invars[0]), _shape(eqn.outvars[0])
    found: dict[Key, Track] = {}
    for key, track in tracks.items():
        along = [axis for axis in starts if track.shape[lead + axis] > 1 and about.sizes[axis] < shape[axis]]
        if not along:
            found.update(moved({key: track}, lead, about.windows, len(result)))
            continue
        axis, start = along[0], starts[along[0]]
        room = shape[axis] - about.sizes[axis]
        if len(along) == 1 and start is not None and (start >= 0).all() and (start <= room).all():
            found[key] = _placed(track, start, axis, about, len(result), lead)
    return {key: track for key, track in found.items() if track.size <= LONGEST}


def _placed(track: Track, start: Track, axis: int, about: Lookup, rank: int, lead: int) -> Track:
    """The places at `start` and beyond, by step of the loops, by index and along the window."""
    last: list[int | None] = [rank if i == axis else window for i, window in enumerate(about.windows)]
    (line,) = moved({(0, 0): track}, lead, last, rank + 1).values()
    (first,) = moved({(0, 0): start}, lead, about.batch, rank).values()
    window = about.windows[axis]
    beyond = [about.sizes[axis] if i == window else 1 for i in range(rank)]
    chosen = (first + np.arange(about.sizes[axis]).reshape(beyond))[..., None]
    steps = np.broadcast_shapes(line.shape[:-1], chosen.shape[:-1])
    line, chosen = (np.broadcast_to(each, (*steps, each.shape[-1])) for each in (line, chosen))
    return np.asarray(np.take_along_axis(line, chosen, -1)[..., 0])


RULES: dict[str, Callable[[JaxprEqn, Sequence[Tracks], int], list[Tracks]]] = {
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "slice": _slice,
    "rev": _slice,
    "concatenate": _concatenate,
    "stack": _stack,
    "split": _split,
    "unstack": _unstack,
    "dynamic_slice": _dynamic_slice,
    "gather": _gather,
}


def _shape(atom: Any) -> tuple[int, ...]:
    return tuple(getattr(atom.aval, "shape", ()))
