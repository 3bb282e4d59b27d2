"""Groups parameter leaves and sites into layers: the rows of every table.

A layer is the leaves of one parent path that are consumed together. A parent whose leaves are consumed
apart (`attention.wq`, `attention.wk`; `w1, b1, w2, b2` in one dict) is as many layers, each named by its
largest leaf. A leaf that is no weight or bias (`actor.log_std`, a temperature) is a layer by its own name.
Leaves of which every use takes one place along an axis are a stack: one layer for each place.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradscope.trace.leaves import Leaf
from gradscope.trace.sites import Site, members_of
from gradscope.trace.stacked_names import StackAxes, stack_axes, stacked_name
from gradscope.trace.tracks import PRESENT

Mask = NDArray[np.bool_]

_OF_A_MODULE = frozenset(
    {"w", "b", "weight", "bias", "kernel", "scale", "gamma", "beta", "gain", "shift", "offset", "embedding"}
)
"""Names of leaves that belong to their module however it applies them: `(1 + scale) * x`."""


@dataclass(frozen=True)
class Row:
    """One layer: the whole of a group, or one place of a stack."""

    name: str
    index: tuple[int, ...]
    """Its place along each axis of the stack."""
    uses: tuple[tuple[Site, Mask], ...]
    """The sites that consume it, and which of their statistics are its own."""
    depth: int | None
    order: tuple[int, ...]
    """Rows are executed in the order of these."""


@dataclass(frozen=True)
class LayerGroup:
    """Leaves (by number) and the sites that consume them, in the order of execution."""

    name: str
    leaves: tuple[int, ...]
    sites: tuple[Site, ...]
    stack: tuple[int, ...]
    """Number of layers along each axis of the stack; empty where it is one layer."""
    axes: tuple[tuple[int, ...], ...]
    """By leaf: the axes along which it is stacked."""
    places: tuple[int, ...]
    """Characters of the name after which each index stands."""
    root: str
    """What the loss calls its parameters as a whole."""

    def rows(self) -> Iterator[Row]:
        for index in itertools.product(*map(range, self.stack)):
            uses = tuple((site, mask) for site in self.sites if (mask := self._mask(site, index)).any())
            yield Row(
                stacked_name(self.name, self.places, index, self.root),
                index,
                uses,
                min((_depth(site, mask) for site, mask in uses), default=None),
                min((_order(site, mask) for site, mask in uses), default=()),
            )

    def _mask(self, site: Site, index: tuple[int, ...]) -> Mask:
        found: Mask = np.zeros((1,) * len(site.shape), bool)
        for leaf, axes in zip(self.leaves, self.axes, strict=True):
            if site.leaves >> leaf & 1:
                here: Any = site.places.get((leaf, PRESENT), np.zeros((), np.intp)) >= 0
                for axis, place in zip(axes, index, strict=True):
                    here = here & (site.places[leaf, axis] == place)
                found = found | here
        return np.broadcast_to(found, site.shape)


def layer_at(groups: Sequence[LayerGroup], site: Site, steps: Sequence[int]) -> str:
    """The row that a site belongs to at these steps of its loops, counted as they run."""
    loops = [axis for axis, about in enumerate(site.lead) if not about.devices]
    at: list[Any] = [slice(None)] * len(site.shape)
    for axis, step in zip(loops, steps, strict=False):
        at[axis] = site.lead[axis].length - 1 - step if site.lead[axis].reverse else step
    mine = [group for group in groups if any(each is site for each in group.sites)]
    rows = [row for group in mine for row in group.rows()]
    here = [row.name for row in rows if any(s is site and m[tuple(at)].any() for s, m in row.uses)]
    return here[0] if len(here) == 1 else mine[0].name


def group(leaves: Sequence[Leaf], sites: Sequence[Site], root: str = "params") -> list[LayerGroup]:
    """Layers in forward order; those without a site stand last, in the order of the pytree.

    `root` is what the loss calls its parameters as a whole.
    """
    consumers = Consumers(primary_sites(len(leaves), sites))
    stacks = [stack_axes(number, leaf.shape, consumers.of([number])) for number, leaf in enumerate(leaves)]
    axes = StackAxes(leaves, stacks, [consumers.of([number]) for number in range(len(leaves))])
    found = []
    for members, name in _components(leaves, consumers, axes):
        first = members[0]
        found.append(
            LayerGroup(
                name,
                tuple(members),
                consumers.of(members),
                axes.lengths(first),
                tuple(stacks[member] for member in members),
                axes.places(first, name),
                root,
            )
        )
    return sorted(found, key=lambda g: (consumers.place(g.sites), g.leaves[0]))


def _depth(site: Site, mask: Mask) -> int:
    """Of the first of its uses."""
    depth: Any = np.full(site.shape, site.depth)
    for axis, stride in site.strides.items():
        depth = depth + stride * _steps(site, axis)
    return int(depth[mask].min())


def _steps(site: Site, axis: int) -> NDArray[np.intp]:
    """The number of the step, counted as the loop runs."""
    about = site.lead[axis]
    steps = np.arange(about.length)
    shape = [about.length if other == axis else 1 for other in range(len(site.shape))]
    return (steps[::-1] if about.reverse else steps).reshape(shape)


def _order(site: Site, mask: Mask) -> tuple[int, ...]:
    turned = np.flip(mask, tuple(axis for axis, about in enumerate(site.lead) if about.reverse))
    first = np.unravel_index(int(np.argmax(turned)), turned.shape)
    own = tuple(int(place) for place in first[len(site.lead) :])
    return (*(int(first[-1 - step]) if step < 0 else step for step in site.path), *own)


class Consumers:
    """The sites that consume each leaf."""

    def __init__(self, sites: Sequence[Site]) -> None:
        self._sites = sites
        self._order = {site.id: place for place, site in enumerate(sites)}
        self._by_leaf: dict[int, list[int]] = {}
        for place, site in enumerate(sites):
            for leaf in members_of(site.leaves):
                self._by_leaf.setdefault(leaf, []).append(place)

    def of(self, members: Sequence[int]) -> tuple[Site, ...]:
        """Each once, in the order of execution."""
        places = {place for leaf in members for place in self._by_leaf.get(leaf, ())}
        return tuple(self._sites[place] for place in sorted(places))

    def only_as_constant(self, leaf: int) -> bool:
        sites = self.of([leaf])
        return bool(sites) and all(site.constants >> leaf & 1 for site in sites)

    def place(self, sites: Sequence[Site]) -> int:
        return self._order[sites[0].id] if sites else len(self._order)


def primary_sites(count: int, sites: Sequence[Site]) -> list[Site]:
    """Sites of the forward computation, and of an inner gradient only for leaves that have no other."""
    forward = 0
    for site in sites:
        if not site.backward:
            forward |= site.leaves
    return [site for site in sites if site.leaves and (not site.backward or site.leaves & ~forward)]


def _components(leaves: Sequence[Leaf], consumers: Consumers, axes: StackAxes) -> list[tuple[list[int], str]]:
    """Leaves of one parent that are linked by a site and stacked alike, with the layer's name."""
    by_parent: dict[str, list[int]] = {}
    for number, leaf in enumerate(leaves):
        by_parent.setdefault(leaf.parent, []).append(number)
    found: list[tuple[list[int], str]] = []
    for parent, together in by_parent.items():
        alone = [leaf for leaf in together if _stands_alone(leaves[leaf], leaf, consumers)]
        members = [leaf for leaf in together if leaf not in alone]
        found.extend(([leaf], leaves[leaf].name) for leaf in alone)
        parts = _linked(members, consumers, axes)
        used = [part for part in parts if consumers.of(part)]
        unused = [leaf for part in parts if part not in used for leaf in part]
        if parent and (len(used) == 1 or not (used or alone)):
            whole = members if not used or not axes.lengths(used[0][0]) else used[0]
            found.append((whole, parent))
            unused = [leaf for leaf in unused if leaf not in whole]
            used = []
        found.extend((part, _largest(leaves, part)) for part in [*used, *([leaf] for leaf in unused)])
    return found


def _stands_alone(leaf: Leaf, number: int, consumers: Consumers) -> bool:
    """A number of the model that is no weight or bias of a module: a deviation, a temperature."""
    own = leaf.name[len(leaf.parent) :].strip(".")
    usual = own in _OF_A_MODULE or own.startswith("[")
    return not usual and consumers.only_as_constant(number)


def _linked(members: list[int], consumers: Consumers, axes: StackAxes) -> list[list[int]]:
    parts = [{leaf} for leaf in members]
    for site in consumers.of(members):
        mine = [leaf for leaf in members if site.leaves >> leaf & 1]
        for lengths in {axes.lengths(leaf) for leaf in mine}:
            alike = {leaf for leaf in mine if axes.lengths(leaf) == lengths}
            joined = [part for part in parts if part & alike]
            if len(joined) > 1:
                parts = [part for part in parts if part not in joined] + [set().union(*joined)]
    return sorted(sorted(part) for part in parts)


def _largest(leaves: Sequence[Leaf], members: list[int]) -> str:
    """The name of the largest leaf, the first of equals."""
    return max((leaves[number] for number in members), key=lambda leaf: leaf.size).name
