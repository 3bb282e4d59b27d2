"""Groups parameter leaves and sites into layers: the rows of every table.

A layer is the leaves of one parent path that are consumed together. A parent whose leaves are consumed
apart (`attention.wq`, `attention.wk`; `w1, b1, w2, b2` in one dict) is as many layers, each named by its
largest leaf. Leaves that a loop takes row by row are one layer per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gradscope.trace.leaves import Leaf
from gradscope.trace.sites import Site, members_of


@dataclass(frozen=True)
class LayerGroup:
    """Leaves (by number) and the sites that consume them, in the order of execution."""

    name: str
    leaves: tuple[int, ...]
    sites: tuple[Site, ...]
    rows: int | None
    """Number of layers stacked along axis 0 of every leaf, or `None`."""


def group(leaves: Sequence[Leaf], sites: Sequence[Site]) -> list[LayerGroup]:
    """Layers in forward order; those without a site stand last, in the order of the pytree."""
    consumers = Consumers(primary_sites(len(leaves), sites))
    found = [_group(leaves, members, consumers, name) for members, name in _components(leaves, consumers)]
    return sorted(found, key=lambda g: (consumers.place(g.sites), g.leaves[0]))


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

    def place(self, sites: Sequence[Site]) -> int:
        return self._order[sites[0].id] if sites else len(self._order)


def primary_sites(count: int, sites: Sequence[Site]) -> list[Site]:
    """Sites of the forward computation, and of an inner gradient only for leaves that have no other."""
    forward = 0
    for site in sites:
        if not site.backward:
            forward |= site.leaves
    return [site for site in sites if site.leaves and (not site.backward or site.leaves & ~forward)]


def _group(leaves: Sequence[Leaf], members: list[int], consumers: Consumers, name: str) -> LayerGroup:
    bits = sum(1 << leaf for leaf in members)
    mine = consumers.of(members)
    seen = 0
    for site in mine:
        seen |= site.leaves
    told_apart = all(site.axis is not None or site.row is not None for site in mine)
    stacked = bool(mine) and told_apart and not bits & ~seen
    lengths = {site.shape[site.axis] for site in mine if site.axis is not None}
    lengths |= {leaves[leaf].shape[0] if leaves[leaf].shape else 0 for leaf in members}
    rows = lengths.pop() or None if stacked and len(lengths) == 1 else None
    return LayerGroup(name, tuple(members), mine, rows)


def _components(leaves: Sequence[Leaf], consumers: Consumers) -> list[tuple[list[int], str]]:
    """Leaves of one parent that are linked by a site, with the layer's name."""
    by_parent: dict[str, list[int]] = {}
    for number, leaf in enumerate(leaves):
        by_parent.setdefault(leaf.parent, []).append(number)
    found = []
    for parent, members in by_parent.items():
        parts = _linked(members, consumers)
        used = [part for part in parts if consumers.of(part)]
        unused = [leaf for part in parts if part not in used for leaf in part]
        if len(used) <= 1 and parent:
            found.append((members, parent))
        else:
            found.extend((part, _largest(leaves, part)) for part in [*used, *([leaf] for leaf in unused)])
    return found


def _linked(members: list[int], consumers: Consumers) -> list[list[int]]:
    parts = [{leaf} for leaf in members]
    for site in consumers.of(members):
        joined = [part for part in parts if any(site.leaves >> leaf & 1 for leaf in part)]
        if len(joined) > 1:
            parts = [part for part in parts if part not in joined] + [set().union(*joined)]
    return sorted(sorted(part) for part in parts)


def _largest(leaves: Sequence[Leaf], members: list[int]) -> str:
    """The name of the largest leaf, the first of equals."""
    return max((leaves[number] for number in members), key=lambda leaf: leaf.size).name
