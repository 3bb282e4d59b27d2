"""The user's file and line: of an equation, and of layers so that they can be told apart."""

from __future__ import annotations

import linecache
import os
from collections.abc import Sequence

from jax.extend.core import JaxprEqn

from gradscope.records import Source
from gradscope.trace import jaxprs
from gradscope.trace.layers import LayerGroup
from gradscope.trace.sites import Site

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


def sources_of(groups: Sequence[LayerGroup], every: Sequence[Site] = ()) -> list[Source | None]:
    """A line for each layer: that of its product, or the nearest caller's that tells it from other layers.

    `dense(params, x)` multiplies for every layer at one line; the lines that call it differ. Layers made
    in a Python loop keep the one line that they share. The last layer under a derivative is met where the
    derivative of the function before it is; its product is in `every`, with the sites that the loss does
    not read.
    """
    paths = [_path(group, every) for group in groups]
    chosen = told_apart([path for path in paths if path])
    return [source_at(chosen[path]) if path else None for path in paths]


def _path(group: LayerGroup, every: Sequence[Site]) -> tuple[Location, ...]:
    sites = group.sites
    if sites and all(site.backward for site in sites):
        own = sum(1 << leaf for leaf in group.leaves)
        sites = (*(site for site in every if site.leaves & own and not site.backward), *sites)
    if not sites or sites[0].eqn is None:
        return ()
    return tuple(jaxprs.user_locations(sites[0].eqn, sites[0].calls))


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
