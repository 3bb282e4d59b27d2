"""The user's file and line: of an equation, and of layers so that they can be told apart."""

from __future__ import annotations

import linecache
import os
from collections.abc import Sequence

from jax.extend.core import JaxprEqn

from gradscope.records import Source
from gradscope.trace import jaxprs
from gradscope.trace.layers import LayerGroup

Location = tuple[str, int]

OUTWARD = 4
"""Callers that are asked for a line of their own: helpers around a product are one to three deep."""


def source_of(eqn: JaxprEqn | None, calls: Sequence[JaxprEqn] = ()) -> Source | None:
    """The line that made the equation; `calls` are the equations around it, innermost first."""
    found = jaxprs.user_locations(eqn, calls) if eqn is not None else []
    return source_at(found[0]) if found else None


def source_at(location: Location) -> Source:
    """The file is relative to the working directory where it lies below it."""
    file, line = location
    text = linecache.getline(file, line).strip()
    relative = os.path.relpath(file)
    return Source(file if relative.startswith("..") else relative, line, text)


def sources_of(groups: Sequence[LayerGroup]) -> list[Source | None]:
    """A line for each layer: that of its product, or the nearest caller's that tells it from other layers.

    `dense(params, x)` multiplies for every layer at one line; the lines that call it differ. Layers made
    in a Python loop keep the one line that they share.
    """
    paths = [
        tuple(jaxprs.user_locations(group.sites[0].eqn, group.sites[0].calls))
        if group.sites and group.sites[0].eqn is not None
        else ()
        for group in groups
    ]
    chosen = told_apart([path for path in paths if path])
    return [source_at(chosen[path]) if path else None for path in paths]


def told_apart(paths: Sequence[tuple[Location, ...]]) -> dict[tuple[Location, ...], Location]:
    """For each path, innermost first, its first line, or the nearest caller's that tells it from others."""
    if len({path[0] for path in paths}) < 2 <= len({path[1:] for path in paths}):
        for depth in range(1, OUTWARD + 1):
            shorter = [path[depth:] for path in paths]
            if all(shorter) and len({path[0] for path in shorter}) > 1:
                further = told_apart(shorter)
                return {path: further[path[depth:]] for path in paths}
    if len({path[0] for path in paths}) < 2:
        return {path: path[0] for path in paths}
    found = {}
    for first in dict.fromkeys(path[0] for path in paths):
        found.update(told_apart([path for path in paths if path[0] == first]))
    return found
