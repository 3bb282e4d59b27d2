"""Parameters that a `shard_map` gets split over devices, as they are."""

from __future__ import annotations

import math
from dataclasses import dataclass

from jax.extend.core import JaxprEqn

from gradscope.trace import jaxprs
from gradscope.trace.domains.bits import Bits
from gradscope.trace.domains.local_norms import names_of
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import is_called
from gradscope.trace.walk import Path, Visit, walk

_AS_IT_IS = frozenset({"convert_element_type", "copy", "sharding_constraint", "device_put", "pvary"})


@dataclass(frozen=True)
class SplitLeaf:
    leaf: int
    dimension: int
    axes: tuple[str, ...]
    """Of the mesh, over which that dimension is split."""
    parts: int
    eqn: JaxprEqn
    calls: tuple[JaxprEqn, ...]
    """The equations around it, innermost first."""


def split_leaves(body: Body, leaves: int) -> list[SplitLeaf]:
    """Each dimension of a leaf once, in the order of the program; the first inputs are the leaves."""
    if not jaxprs.has_primitive(body, frozenset({"shard_map"})):
        return []
    domain = _Given()
    walk(domain, body, [1 << i if i < leaves else 0 for i in range(len(body.jaxpr.invars))], ())
    return list(domain.found.values())


class _Given(Bits):
    """A bit for each leaf, of what is that leaf."""

    def __init__(self) -> None:
        self.found: dict[tuple[int, int], SplitLeaf] = {}

    def enters(self, visit: Visit[int, Path]) -> bool:
        return is_called(visit.eqn) and visit.inside.shards is None

    def before(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> None:
        del place, index
        if eqn.primitive.name == "shard_map":
            self._split(eqn, values)

    def plain(self, eqn: JaxprEqn, values: list[int], place: Path, index: int) -> list[int]:
        del place, index
        return [values[0] if eqn.primitive.name in _AS_IT_IS else 0] * len(eqn.outvars)

    def _split(self, eqn: JaxprEqn, values: list[int]) -> None:
        p = jaxprs.shard_map_params(eqn)
        sizes = dict(p.axes)
        for spec, value in zip(p.in_specs, values, strict=True):
            for dimension in range(len(spec) if value else 0):
                axes = tuple(axis for axis in names_of(spec[dimension : dimension + 1]) if axis in sizes)
                parts, leaf = math.prod(sizes[axis] for axis in axes), value.bit_length() - 1
                if parts > 1:
                    one = SplitLeaf(leaf, dimension, axes, parts, eqn, self.around[1:])
                    self.found.setdefault((leaf, dimension), one)
