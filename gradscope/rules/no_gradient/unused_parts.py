"""Layers without a gradient that this batch may not use: experts, heads, parts of an input that are zero."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from gradscope.records import Layer, Measurement, Parameter
from gradscope.rules.no_gradient.zero_gradient_causes import cleared_input, has_delta

Dead: TypeAlias = Mapping[str, Sequence[Parameter]]
"""By layer, the leaves whose gradient is exactly zero."""


def unrouted(measurement: Measurement, layer: Layer, dead: Dead) -> bool:
    """Whether a sibling at the same depth has a gradient: experts, or heads, that this batch did not use."""
    if has_delta(layer) or layer.depth is None:
        return False
    alike = [
        other
        for other in measurement.layers
        if other.depth == layer.depth
        and other.name not in dead
        and _siblings(other.name) == _siblings(layer.name)
        and other.name != layer.name
        and other.gradient_max > 0
    ]
    member = layer.name[: layer.name.rfind("]") + 1]
    mine = [other for other in measurement.layers if member and other.name.startswith(member)]
    if any(has_delta(other) and (other.depth or 0) > layer.depth for other in mine):
        # The loss uses this member: only its own layers at the same depth can show that this one is unused.
        alike = [other for other in alike if other in mine]
    return bool(alike)


def _siblings(name: str) -> str:
    """`expert_3` and `expert_7` are siblings, and so are `heads.box` and `heads.class`."""
    parent, dot, _ = name.rpartition(".")
    return re.sub(r"\d+", "", parent if dot else name)


def one_part(measurement: Measurement, layer: Layer, dead: Dead) -> bool:
    """Whether δ comes to it, and other weights beside it have a gradient: its part of the input is zero in
    these data, as is known of an array of the batch, and may be of an irreducible representation."""
    zero, kind = cleared_input(measurement, layer), _numbered(layer.name)
    if zero and layer.gradient_max > 0:
        return True
    return has_delta(layer) and any(
        other.depth == layer.depth
        and (zero or (bool(kind) and _numbered(other.name) == kind))
        and other.name not in dead
        and other.gradient_max > 0
        for other in measurement.layers
    )


def _numbered(name: str) -> str:
    """Of weights that an equivariant module has for each representation: `linear['w` of
    `linear['w[0,0] 8x0e']`. Empty of others: a query beside a value, a recurrent weight beside that of the
    input are other weights, with an input that no data should leave at zero."""
    found = re.match(r".*\['\w+(?=\[\d+,\d+\])", name)
    return found[0] if found else ""
