"""Which devices take part in an operation between devices, and along which axes of the mesh that is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Groups = NDArray[np.intp]
"""(groups, devices of each): places in the mesh, counted row by row."""
_LISTED = re.compile(r"\breplica_groups=\{((?:\{[\d,]*\},?)*)\}")
_COUNTED = re.compile(r"\breplica_groups=\[([\d,]+)\]<=\[([\d,]+)\](?:T\(([\d,]+)\))?")
_OF_MESH = re.compile(r"\breplica_groups=@?mesh\[([^\]]*)\]([^{]*)\{([^}]*)\}")
_AXIS = re.compile(r"'([^']*)'(?:=(\d+)|:\((\d+)\)(\d+))?")
_PAIRS = re.compile(r"\bsource_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")
_ORDER = re.compile(r"\[([\d,]+)\](?:T\(([\d,]+)\))?")


def groups_of(attributes: str, devices: int) -> Groups | None:
    """`None` where they are of different sizes, or written in a way that is not known here."""
    listed = _LISTED.search(attributes)
    if listed:
        found = [_numbers(each) for each in re.findall(r"\{([\d,]*)\}", listed[1])]
        if not found:
            return np.arange(devices)[None]
        return np.array(found) if len({len(each) for each in found}) == 1 else None
    counted = _COUNTED.search(attributes)
    if counted:
        return _turned(counted[2], counted[3]).reshape(_numbers(counted[1]))
    of_mesh = _OF_MESH.search(attributes)
    return None if of_mesh is None else _of_mesh(*of_mesh.groups())


def _turned(shape: str, order: str | None) -> NDArray[np.intp]:
    sizes = _numbers(shape)
    places = np.arange(np.prod(sizes)).reshape(sizes)
    return places.transpose(_numbers(order)) if order else places


def _of_mesh(axes: str, order: str, along: str) -> Groups | None:
    """`mesh['a'=4,'b'=2] {'a'}`; of an axis a part: `'a':(2)2`, behind the first 2 of it."""
    sizes = {name: int(size) for name, size, _, _ in _AXIS.findall(axes) if size}
    turned = _ORDER.search(order)
    places = np.arange(np.prod([*sizes.values()], dtype=int)) if not turned else _turned(*turned.groups())
    cut: dict[str, list[tuple[int, int]]] = {}
    for name, _, before, size in _AXIS.findall(along):
        if name not in sizes:
            return None
        cut.setdefault(name, []).append((int(before or 1), int(size or sizes[name])))
    shape, wanted = list[int](), list[int]()
    for name, size in sizes.items():
        done = 1
        for before, part in sorted(cut.get(name, [])):
            if before > done:
                shape.append(before // done)
            wanted.append(len(shape))
            shape.append(part)
            done = before * part
        shape.append(size // done)
    others = [axis for axis in range(len(shape)) if axis not in wanted]
    count = int(np.prod([shape[axis] for axis in wanted], dtype=int))
    return places.reshape(shape).transpose([*others, *wanted]).reshape(-1, count)


def axes_along(groups: Groups, mesh: Mapping[str, int]) -> tuple[str, ...]:
    """The fewest axes along which the groups lie; empty where they are no whole axes."""
    shape, names = [*mesh.values()], [*mesh]
    if int(np.prod(shape, dtype=int)) != groups.size:
        return ()
    places, wanted = np.arange(groups.size).reshape(shape), _sets(groups)
    for count in range(1, len(names) + 1):
        for axes in combinations(range(len(names)), count):
            size = int(np.prod([shape[axis] for axis in axes], dtype=int))
            if size == groups.shape[1] and _sets(_grouped(places, axes, size)) == wanted:
                return tuple(names[axis] for axis in axes)
    return ()


def axes_between(attributes: str, mesh: Mapping[str, int]) -> tuple[str, ...] | None:
    """The axes along which the sources and targets of a permutation differ; `None` where no device sends to
    another one."""
    found = _PAIRS.search(attributes)
    shape = [*mesh.values()]
    pairs = [_numbers(each) for each in re.findall(r"\{([\d,]+)\}", found[1])] if found else []
    apart = [(source, target) for source, target in pairs if source != target]
    if found is not None and not apart:
        return None
    size = int(np.prod(shape, dtype=int))
    if not mesh or any(max(pair) >= size for pair in apart):
        return ()
    places = np.array([np.unravel_index(pair, shape) for pair in apart]).reshape(len(apart), len(shape), 2)
    moved = (places[:, :, 0] != places[:, :, 1]).any(axis=0)
    return tuple(name for name, along in zip(mesh, moved, strict=True) if along)


def _grouped(places: Any, axes: tuple[int, ...], size: int) -> Groups:
    others = [axis for axis in range(places.ndim) if axis not in axes]
    found: Groups = places.transpose([*others, *axes]).reshape(-1, size)
    return found


def _sets(groups: Groups) -> set[frozenset[int]]:
    return {frozenset(map(int, group)) for group in groups}


def _numbers(text: str) -> list[int]:
    return [int(each) for each in text.split(",") if each]
