"""Where a stack of layers has its index: `blocks[3].attention.wq`, as it reads when it is unrolled.

The index stands at the module that was stacked: a path in which all leaves of one loop lie, and no others.
Where several are such (`blocks` and `blocks.linear`), it is the highest one whose name is in the plural, else
the highest. A list is no module, since its index is another one: `blocks[2].layers[1]` is the second layer of
the third block. Where such a list is all that params holds, they are called as the loss calls them. Members
that stand side by side, and rows that are taken by constant indices, have no loop: their module is the
highest path below which every leaf is stacked to the same length.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from gradscope.trace.leaves import Leaf
from gradscope.trace.sites import Site
from gradscope.trace.tracks import Key


def stack_axes(leaf: int, shape: tuple[int, ...], sites: Sequence[Site]) -> tuple[int, ...]:
    """The axes of a leaf along which every use takes one place."""
    return tuple(
        axis for axis, size in enumerate(shape)
        if size > 1 and sites and all((leaf, axis) in site.places for site in sites)
    )  # fmt: skip


def stacked_name(name: str, places: Sequence[int], index: Sequence[int], root: str) -> str:
    """`root` is the name of what everything lies in."""
    text, end = "" if all(places) else root, 0
    for place, number in zip(places, index, strict=True):
        text, end = f"{text}{name[end:place]}[{number}]", place
    dot = "." if end == 0 and index and name[:1] != "[" else ""
    return text + dot + name[end:]


class StackAxes:
    """What is stacked along with what."""

    def __init__(
        self, leaves: Sequence[Leaf], stacks: Sequence[tuple[int, ...]], uses: Sequence[Sequence[Site]]
    ) -> None:
        self._leaves = leaves
        self._stacks = stacks
        self._used = [bool(sites) for sites in uses]
        self._by_loop: dict[int, set[int]] = {}
        self._loops: dict[Key, set[int]] = {}
        for leaf, axes in enumerate(stacks):
            for axis in axes:
                loops = {loop for site in uses[leaf] for loop in _loops(site, (leaf, axis))}
                self._loops[leaf, axis] = loops
                for loop in loops:
                    self._by_loop.setdefault(loop, set()).add(leaf)

    def lengths(self, leaf: int) -> tuple[int, ...]:
        return tuple(self._leaves[leaf].shape[axis] for axis in self._stacks[leaf])

    def places(self, leaf: int, name: str) -> tuple[int, ...]:
        """Characters of `name` after which the index along each axis of the stack stands."""
        found: list[int] = []
        for level, axis in enumerate(self._stacks[leaf]):
            ways = [way for way in self._ways(leaf, axis, level) if len(way) <= len(name)]
            modules = [way for way in ways if way and name[len(way) : len(way) + 1] != "["] or ways[:1]
            below = [way for way in modules if len(way) > max(found, default=-1)] or modules
            plural = [way for way in below if _is_plural(way)]
            found.append(max([len((plural or below)[0]) if below else len(name), *found]))
        return tuple(found)

    def _ways(self, leaf: int, axis: int, level: int) -> list[str]:
        """The paths in which all lies that is stacked with this axis and nothing else, from the highest."""
        loops = self._loops[leaf, axis]
        together = {other for loop in loops for other in self._by_loop[loop]} or self._subtree(leaf, level)
        path = ("", *self._leaves[leaf].path)
        if len(together) == 1:
            return list(path[1:][-1:])
        like = axis, self._leaves[leaf].shape[axis]
        highest = next(end for end in range(len(path)) if self._holds(path[1 : end + 1], together, *like))
        lowest = len(self._shared([self._leaves[other].path for other in together]))
        return list(path[highest : max(highest, lowest, 1) + 1])

    def _holds(self, above: tuple[str, ...], together: set[int], axis: int, length: int) -> bool:
        """Only what is stacked together lies in a path, and leaves of that length that nothing uses."""
        return all(
            other in together
            or (not self._used[other] and self._leaves[other].shape[axis : axis + 1] == (length,))
            for other in self._below(above)
        )

    def _below(self, above: tuple[str, ...]) -> list[int]:
        return [i for i, other in enumerate(self._leaves) if other.path[: len(above)] == above]

    def _subtree(self, leaf: int, level: int) -> set[int]:
        """Leaves below the highest path that holds stacks of this length only."""
        length = self.lengths(leaf)[level]
        for end in range(len(self._leaves[leaf].path)):
            above = self._leaves[leaf].path[:end]
            below = self._below(above)
            if all(self.lengths(i)[level : level + 1] == (length,) for i in below):
                return {*below}
        return {leaf}

    def _shared(self, paths: list[tuple[str, ...]]) -> tuple[str, ...]:
        first = paths[0]
        end = 0
        while end < len(first) and all(path[: end + 1] == first[: end + 1] for path in paths):
            end += 1
        return first[:end]


def _loops(site: Site, key: Key) -> list[int]:
    """The loops from whose steps the place along an axis of a leaf is told."""
    track = site.places[key]
    return [about.loop for position, about in enumerate(site.lead) if track.shape[position] > 1]


def _is_plural(way: str) -> bool:
    """`blocks`, and not `params` or `bias`."""
    name = re.split(r"[./]", way)[-1]
    return name.endswith("s") and not name.endswith(("ss", "us", "is", "as")) and name != "params"
