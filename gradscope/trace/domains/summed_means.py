"""Means over the rows of each device of a `shard_map` that are summed over the devices, and not divided by
how many these are.

A mean is a sum of all elements of an array whose first axis has the rows of one device, divided by their
number or by that of the rows. What follows to the loss is gone through as far as it is a sum or a multiple; a
quotient by the number of devices, or by what the program computes, ends it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.local_norms import names_of
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.contract import Entry
from gradscope.trace.nested.registry import is_called
from gradscope.trace.walk import Domain, Path, Visit, walk

_NEAR = 1e-2
"""Of a divisor: bfloat16 has three digits."""
_AS_IT_IS = frozenset({"convert_element_type", "copy", "pvary", "reshape", "squeeze"})
_SUMS = _AS_IT_IS | {"add", "sub", "neg", "add_any"}


@dataclass(frozen=True)
class SummedMean:
    eqn: JaxprEqn
    """The sum over devices."""
    calls: tuple[JaxprEqn, ...]
    """The equations around it, innermost first."""
    axes: tuple[str, ...]
    devices: int
    rows: int
    """Of each device."""


@dataclass(frozen=True)
class _Value:
    batch: bool = False
    """It depends on the batch."""
    varies: frozenset[str] = frozenset()
    """The axes along which it may differ."""
    total: int = 0
    """It is a sum of so many elements, of all rows of a device; 0 where it is none."""
    rows: int = 0
    divisor: float = 1.0
    """By which that sum was divided."""
    number: float | None = None
    """A constant, where it is one number."""
    sums: frozenset[int] = frozenset()
    """The sums over devices that it is a sum or a multiple of, by their number."""


def summed_means(body: Body, first: int, count: int) -> list[SummedMean]:
    """Those that the loss is a sum of; so many inputs of `body` from `first` on are those of the batch."""
    if not jaxprs.has_primitive(body, frozenset({"shard_map"})):
        return []
    found: list[SummedMean] = []
    inputs = [_Value(batch=first <= number < first + count) for number in range(len(body.jaxpr.invars))]
    loss, *_ = walk(_Means(found, {}, frozenset(), ()), body, inputs, ())
    return [found[number] for number in sorted(loss.sums)]


class _Means(Domain[_Value, Path]):
    def __init__(
        self,
        found: list[SummedMean],
        sizes: Mapping[str, int],
        rows: frozenset[int],
        calls: tuple[JaxprEqn, ...],
    ) -> None:
        """`sizes` of the axes of the `shard_map` around, and the rows that each device has there; both empty
        outside of one."""
        self._found, self._sizes, self._rows, self.around = found, sizes, rows, calls

    def literal(self, atom: Any, place: Path) -> _Value:
        del place
        return _Value(number=None if shape_of(atom) else _number(atom.val))

    def constant(self, value: Any, place: Path) -> _Value:
        del place
        return _Value(number=None if np.shape(value) else _number(value))

    def below(self, visit: Visit[_Value, Path], entry: Entry) -> Path:
        return (*visit.place, visit.index, entry.number)

    def join(self, values: list[_Value]) -> _Value:
        return _Value(
            batch=any(value.batch for value in values),
            varies=frozenset().union(*(value.varies for value in values)),
        )

    def enters(self, visit: Visit[_Value, Path]) -> bool:
        return is_called(visit.eqn) and visit.inside.shards is None

    def plain(self, eqn: JaxprEqn, values: list[_Value], place: Path, index: int) -> list[_Value]:
        del place, index
        if eqn.primitive.name == "shard_map":
            return self._in_shards(eqn, values)
        if eqn.primitive.name.startswith("psum"):
            return [self._summed(eqn, value) for value in values]
        out = self.join(values)
        if eqn.primitive.name == "axis_index":
            out = replace(out, varies=out.varies | jaxprs.named_axes(eqn))
        if eqn.primitive.name == "reduce_sum" and not shape_of(eqn.outvars[0]):
            shape = shape_of(eqn.invars[0])
            if shape and shape[0] in self._rows and out.batch and out.varies:
                out = replace(out, total=math.prod(shape), rows=shape[0])
        sums = frozenset().union(*(value.sums for value in values))
        kept = [number for number in sums if _goes_on(eqn, values, number, self._found[number].devices)]
        number = values[0].number if eqn.primitive.name in _AS_IT_IS else None
        out = replace(out, sums=frozenset(kept), number=number, **_divided(eqn, values))
        return [out] * len(eqn.outvars)

    def _summed(self, eqn: JaxprEqn, value: _Value) -> _Value:
        axes = tuple(axis for axis in self._sizes if axis in jaxprs.named_axes(eqn) and axis in value.varies)
        after = _Value(value.batch, value.varies - set(axes), sums=value.sums if not axes else frozenset())
        devices = math.prod(self._sizes[axis] for axis in axes)
        if not axes or not _is_mean(value, devices):
            return after
        known = [number for number, each in enumerate(self._found) if each.eqn is eqn]
        if not known:
            self._found.append(SummedMean(eqn, self.around[1:], axes, devices, value.rows))
            known = [len(self._found) - 1]
        return replace(after, sums=frozenset(known))

    def _in_shards(self, eqn: JaxprEqn, values: list[_Value]) -> list[_Value]:
        p = jaxprs.shard_map_params(eqn)
        sizes = {axis: size for axis, size in p.axes if size > 1}
        given = list(zip(p.body.jaxpr.invars, p.in_specs, values, strict=True))
        rows = {
            shape_of(inner)[0]
            for inner, spec, value in given
            if value.batch and shape_of(inner) and not sizes.keys().isdisjoint(names_of(spec[:1]))
        }
        inputs = [
            _Value(value.batch, frozenset(names_of(spec)) & sizes.keys(), sums=value.sums)
            for _, spec, value in given
        ]
        within = _Means(self._found, sizes, frozenset(rows), self.around)
        outs = walk(within, p.body, inputs, ())
        # One that still differs is no sum over all devices: what comes out is a row of them, or the first's.
        return [_Value(out.batch, sums=frozenset() if out.varies else out.sums) for out in outs]


def _divided(eqn: JaxprEqn, values: list[_Value]) -> dict[str, Any]:
    """What is known of a sum over rows after an equation."""
    name, sums = eqn.primitive.name, [value for value in values if value.total]
    if not sums:
        return {}
    known = sums[0]
    kept = {"total": known.total, "rows": known.rows, "divisor": known.divisor}
    if name in _SUMS:
        return kept if len({(each.total, each.rows, each.divisor) for each in sums}) == 1 else {}
    divisor = None if len(sums) > 1 else _divisor(eqn, values, [bool(value.total) for value in values])
    return {} if divisor is None else kept | {"divisor": known.divisor * divisor}


def _is_mean(value: _Value, devices: int) -> bool:
    """Of the elements of one device, or of its rows; `False` where that may be the number of all rows."""
    if not value.total:
        return False
    counts = {value.rows, value.total} - {value.rows * devices}
    return any(abs(value.divisor / count - 1) < _NEAR for count in counts)


def _goes_on(eqn: JaxprEqn, values: list[_Value], number: int, devices: int) -> bool:
    carries = [number in value.sums for value in values]
    if eqn.primitive.name in _SUMS:
        return True
    divisor = None if all(carries) else _divisor(eqn, values, carries)
    if not divisor:
        return False
    shares = divisor / devices
    return shares < 1 - _NEAR or abs(shares - round(shares)) > _NEAR


def _divisor(eqn: JaxprEqn, values: list[_Value], carries: list[bool]) -> float | None:
    """The number by which a value is divided; `None` for any other equation."""
    if eqn.primitive.name not in ("mul", "div") or (eqn.primitive.name == "div" and carries[1]):
        return None
    number = values[carries.index(False)].number
    if not number:
        return None
    return abs(number if eqn.primitive.name == "div" else 1 / number)


def _number(value: Any) -> float | None:
    """Of a real constant."""
    if not jnp.issubdtype(jnp.result_type(value), jnp.number) or np.iscomplexobj(value):
        return None
    found = float(value)
    return found if math.isfinite(found) else None
