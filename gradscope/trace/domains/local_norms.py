"""Norms that each device of a `shard_map` computes of what it has alone, and by which a gradient is scaled.

A norm is the root of a sum of squares down to one number. It scales a gradient where it multiplies, divides
or chooses between arrays of the shape of a parameter that depend on the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.bits import Bits
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import is_called
from gradscope.trace.vocabulary import ROOTS
from gradscope.trace.walk import Path, Visit, walk

_PARAMS, _BATCH = 1, 2
"""The bits of what depends on the params and on the batch, outside of `shard_map`."""
_RESHAPES = frozenset({"broadcast_in_dim", "reshape", "convert_element_type", "squeeze", "copy", "pvary"})
_KEEPS_SQUARES = _RESHAPES | {"reduce_sum", "add", "mul"}
_SCALES = frozenset({"mul", "div", "select_n"})
BRINGS_TOGETHER = ("psum", "pmax", "pmin", "all_gather", "pmean")
"""How the names of collectives begin after which all devices along their axes have the same."""


@dataclass(frozen=True)
class LocalNormSite:
    """A norm inside a `shard_map`."""

    around: Path
    """Where the `shard_map` stands in the program."""
    shards: JaxprEqn
    path: Path
    """Of the root, in the body of the `shard_map`."""
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    """The equations around the root, innermost first."""
    axes: tuple[str, ...]
    """Along which it differs."""
    parts: bool
    """Along one of these axes parameters are split: the norm is that of a part of the gradient."""


def local_norms(body: Body, batch: range) -> list[LocalNormSite]:
    """In the order of the program; `batch` are the places of the batch among its inputs, behind the params.
    None in a loop."""
    if not jaxprs.has_primitive(body, frozenset({"shard_map"})):
        return []
    domain = _Outside()
    count = len(body.jaxpr.invars)
    walk(
        domain,
        body,
        [_PARAMS if i < batch.start else _BATCH if i in batch else 0 for i in range(count)],
        (),
    )
    return [site for sites in domain.found.values() for site in sites]


class _Outside(Bits):
    def __init__(self) -> None:
        self.found: dict[Path, list[LocalNormSite]] = {}

    def enters(self, visit: Visit[int, Path]) -> bool:
        return is_called(visit.eqn) and visit.inside.shards is None

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        if eqn.primitive.name == "shard_map":
            self.found[(*place, index)] = list(_in_shards(eqn, values, (*place, index), self.around))

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        del place, index
        return [self.join(values)] * len(eqn.outvars)


def _in_shards(
    eqn: JaxprEqn, values: Sequence[int], around: Path, calls: tuple[JaxprEqn, ...]
) -> Iterator[LocalNormSite]:
    p = jaxprs.shard_map_params(eqn)
    axes = tuple(axis for axis, size in p.axes if size > 1)
    own = [(spec, value == _PARAMS) for spec, value in zip(p.in_specs, values, strict=True)]
    shapes = {
        tuple(atom.aval.shape)
        for atom, (_, of_params) in zip(p.body.jaxpr.invars, own, strict=True)
        if of_params
    }
    split = {axis for spec, of_params in own if of_params for axis in names_of(spec)}
    domain = _Inside(axes, {shape for shape in shapes if shape})
    walk(
        domain,
        p.body,
        [
            domain.along(names_of(spec)) | (domain.batch if value & _BATCH else 0)
            for spec, value in zip(p.in_specs, values, strict=True)
        ],
        (),
    )
    for path, (bit, root, inner, varies) in domain.norms.items():
        if domain.scales & bit:
            named = tuple(axis for axis in axes if varies & domain.along((axis,)))
            yield LocalNormSite(around, eqn, path, root, (*inner, *calls), named, not split.isdisjoint(named))


def names_of(spec: Any) -> tuple[str, ...]:
    """The axes of a mesh that a layout names, in its order."""
    return tuple(
        name for part in spec if part is not None for name in (part if isinstance(part, tuple) else (part,))
    )


class _Inside(Bits):
    """Bits of the axes along which a value may differ, of what depends on the batch, of squares of gradients,
    of their sums, and of each norm."""

    def __init__(self, axes: tuple[str, ...], shapes: set[tuple[int, ...]]) -> None:
        self._axes = {axis: 1 << number for number, axis in enumerate(axes)}
        self.varies = (1 << len(axes)) - 1
        self.batch, self._square, self._sum, self._next = (1 << (len(axes) + more) for more in range(4))
        self._shapes = shapes
        self.norms: dict[Path, tuple[int, JaxprEqn, tuple[JaxprEqn, ...], int]] = {}
        self.scales = 0
        """The norms that scale a gradient."""

    def along(self, axes: Sequence[str]) -> int:
        return self.join([self._axes.get(axis, 0) for axis in axes])

    def enters(self, visit: Visit[int, Path]) -> bool:
        return is_called(visit.eqn)

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        del place, index
        if eqn.primitive.name in _SCALES and shape_of(eqn.outvars[0]) in self._shapes:
            norms = [value & self._norms for value in values]
            if any(value & self.batch and not norm for value, norm in zip(values, norms, strict=True)):
                self.scales |= self.join(norms)

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        every, named = self.join(values), jaxprs.named_axes(eqn)
        base = every & (self.varies | self.batch)
        if eqn.primitive.name == "axis_index":
            base |= self.along(tuple(named))
        if eqn.primitive.name.startswith(BRINGS_TOGETHER):
            base &= ~self.along(tuple(named))
        scalar = not shape_of(eqn.outvars[0]) if eqn.outvars else False
        if self._squares(eqn, values) or (every & self._square and eqn.primitive.name in _KEEPS_SQUARES):
            base |= self._sum if scalar else self._square
        elif every & self._sum and scalar and eqn.primitive.name in ROOTS and base & self.varies:
            base |= self._norm(eqn, (*place, index), base & self.varies)
        elif every & self._sum and scalar:
            base |= self._sum
        if scalar or eqn.primitive.name in _RESHAPES:
            base |= every & self._norms
        return [base] * len(eqn.outvars)

    @property
    def _norms(self) -> int:
        return -self._next

    def _squares(self, eqn: JaxprEqn, values: list[int]) -> bool:
        name, shape = eqn.primitive.name, shape_of(eqn.invars[0]) if eqn.invars else ()
        if not values or not values[0] & self.batch or shape not in self._shapes:
            return False
        twice = len(eqn.invars) == 2 and eqn.invars[0] is eqn.invars[1]
        return (
            name == "square"
            or (name == "integer_pow" and jaxprs.exponent(eqn) == 2)
            or (name in ("mul", "dot_general") and twice)
        )

    def _norm(self, eqn: JaxprEqn, path: Path, varies: int) -> int:
        first = self._next << len(self.norms)
        bit, *_ = self.norms.setdefault(path, (first, eqn, self.around[1:], varies))
        return bit
