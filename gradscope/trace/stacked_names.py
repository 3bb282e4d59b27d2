"""Where a stack of layers has its index: `blocks[3].attention.wq`, as it reads when it is unrolled.

The index stands after the deepest path that holds all leaves of one loop, after one step at least. Members
that stand side by side, and rows that are taken by constant indices, have no loop: there it stands at the
highest path below which every leaf is stacked to the same length, and before a list, whose index is another
one: `[0].layers[1]` is the second layer of the first model.
"""

from __future__ import annotations

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


def stacked_name(name: str, places: Sequence[int], index: Sequence[int]) -> str:
    text, end = "", 0
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
            paths = self._together(leaf, axis, level)
            steps = [step for step in self._leaves[leaf].path if len(step) <= len(name)]
            ends = [0, *map(len, steps)] if steps else [len(name)]
            at = min(max(len(self._shared(paths)), 1), len(ends) - 1)
            if at and not self._loops[leaf, axis] and name[ends[at] : ends[at] + 1] == "[":
                at -= 1
            found.append(max([ends[at], *found]))
        return tuple(found)

    def _together(self, leaf: int, axis: int, level: int) -> list[tuple[str, ...]]:
        members = {other for loop in self._loops[leaf, axis] for other in self._by_loop[loop]}
        return [self._leaves[other].path for other in members or self._subtree(leaf, level)]

    def _subtree(self, leaf: int, level: int) -> set[int]:
        """Leaves below the highest path that holds stacks of this length only."""
        length = self.lengths(leaf)[level]
        for end in range(len(self._leaves[leaf].path)):
            above = self._leaves[leaf].path[:end]
            below = {i for i, other in enumerate(self._leaves) if other.path[:end] == above}
            if all(self.lengths(i)[level : level + 1] == (length,) for i in below):
                return below
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
