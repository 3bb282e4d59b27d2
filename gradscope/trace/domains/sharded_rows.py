"""Where a `shard_map` gives each device some of the rows of the batch, and what is drawn there by all alike.

Rows are those of an array of the batch, or of what was computed from it and has as many rows as there are
examples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.bits import Bits
from gradscope.trace.domains.draws import DRAWS
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.jaxprs import Body
from gradscope.trace.vocabulary import ELEMENTWISE
from gradscope.trace.walk import Path, Visit, walk

_AS_IT_IS = frozenset({"convert_element_type", "copy", "sharding_constraint", "device_put", "pvary"})
_GIVEN, _COMPUTED = 1, 2
"""The bits of an array of the batch as it is, and of what depends on one."""
_VARIES, _ROWS = 1, 2
"""The bits of what may differ between the devices along the axes, and of what comes from the batch."""


@dataclass(frozen=True)
class SharedDraw:
    """Random numbers that all devices draw alike, and that meet rows of which each device has others."""

    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    """The equations around it, innermost first."""
    shape: tuple[int, ...]


@dataclass(frozen=True)
class SplitRows:
    """A `shard_map` that gets rows of the batch split over devices."""

    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    axes: tuple[str, ...]
    """Of the mesh, over which rows are split."""
    devices: int
    """Along those axes."""
    rows: int
    """Of the whole batch."""
    given: bool
    """They are those of an array of the batch as it is."""
    draws: tuple[SharedDraw, ...] = field(default=())


def split_rows(body: Body, first: int, count: int, examples: int) -> list[SplitRows]:
    """In the order of the program; so many of its inputs from `first` on are the arrays of the batch."""
    if not jaxprs.has_primitive(body, frozenset({"shard_map"})):
        return []
    domain = _Arrays(examples)
    of_batch = [first <= number < first + count for number in range(len(body.jaxpr.invars))]
    walk(domain, body, [_GIVEN | _COMPUTED if each else 0 for each in of_batch], ())
    return list(domain.found.values())


class _Arrays(Bits):
    def __init__(self, examples: int) -> None:
        self._examples = examples
        self.found: dict[Path, SplitRows] = {}

    def enters(self, visit: Visit[int, Path]) -> bool:
        return visit.inside.shards is None

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        if eqn.primitive.name == "shard_map":
            found = _split(eqn, self.around[1:], values, self._examples)
            if found is not None:
                self.found[(*place, index)] = found

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        del place, index
        as_it_is = values[0] & _GIVEN if eqn.primitive.name in _AS_IT_IS else 0
        return [as_it_is | (self.join(values) & _COMPUTED)] * len(eqn.outvars)


def _split(
    eqn: JaxprEqn, calls: tuple[JaxprEqn, ...], values: Sequence[int], examples: int
) -> SplitRows | None:
    """By the first array that has rows over several devices; those of the batch as they are go first."""
    p = jaxprs.shard_map_params(eqn)
    sizes = dict(p.axes)
    operands = list(zip(eqn.invars, p.in_specs, values, strict=True))
    for atom, spec, bits in sorted(operands, key=lambda each: not each[2] & _GIVEN):
        axes = tuple(axis for axis in _parts(spec, 0) if axis in sizes)
        devices, rows = math.prod(sizes[axis] for axis in axes), next(iter(shape_of(atom)), 0)
        if devices > 1 and (bits & _GIVEN or (bits and rows == examples)):
            of_batch = [bool(each) for each in values]
            shared = tuple(_shared_draws(p, frozenset(axes), rows // devices, of_batch))
            return SplitRows(eqn, calls, axes, devices, rows, bool(bits & _GIVEN), shared)
    return None


def _parts(spec: Any, axis: int) -> tuple[str, ...]:
    """Of the mesh, over which this axis of an array is split."""
    part = spec[axis] if len(spec) > axis else None
    return () if part is None else part if isinstance(part, tuple) else (part,)


def _shared_draws(
    p: jaxprs.ShardMapParams, axes: frozenset[str], rows: int, of_batch: Sequence[bool]
) -> Iterator[SharedDraw]:
    """`of_batch` tells of each operand whether it comes from the batch: weights may be split, too."""
    domain = _Draws(axes, rows)
    inputs = [
        (_VARIES if any(not axes.isdisjoint(_parts(spec, axis)) for axis in range(len(spec))) else 0)
        | (_ROWS if rows_of_it else 0)
        for spec, rows_of_it in zip(p.in_specs, of_batch, strict=True)
    ]
    walk(domain, p.body, inputs, ())
    for bit, draw in domain.drawn.values():
        if domain.met & bit:
            yield draw


class _Draws(Bits):
    """Bits of what varies, and of each draw by a key that does not."""

    def __init__(self, axes: frozenset[str], rows: int) -> None:
        self._axes, self._rows = axes, rows
        self.drawn: dict[Path, tuple[int, SharedDraw]] = {}
        self.met = 0
        """The draws that meet rows."""

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        shape = shape_of(eqn.outvars[0]) if eqn.outvars else ()
        if eqn.primitive.name in ELEMENTWISE and shape[:1] == (self._rows,):
            varies = any(
                value & _VARIES and value & _ROWS and shape_of(atom) == shape
                for atom, value in zip(eqn.invars, values, strict=True)
            )
            if varies:
                self.met |= self.join([value for value in values if not value & _VARIES])

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        every, named = self.join(values), self._axes & jaxprs.named_axes(eqn)
        if eqn.primitive.name == "axis_index" and named:
            every |= _VARIES
        elif eqn.primitive.name.startswith(_BRINGS_TOGETHER) and self._axes <= named:
            every &= ~_VARIES
        elif eqn.primitive.name in DRAWS and not every & _VARIES:
            draw = SharedDraw(eqn, self.around[1:], shape_of(eqn.outvars[0]))
            if draw.shape[:1] == (self._rows,):
                known = self.drawn.setdefault((*place, index), (4 << len(self.drawn), draw))
                every |= known[0]
        return [every] * len(eqn.outvars)


_BRINGS_TOGETHER = ("psum", "pmax", "pmin", "all_gather")
