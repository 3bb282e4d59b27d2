"""Arrays that several devices hold whole, or the same part of: do all of them hold the same bits?

JAX takes the first copy for the array and never looks at the others. Here each device sums the words of its
own copy, twice, the second time each by its place: two numbers come back from each, and no array moves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.sharding import Mesh

from gradscope.records import DivergedReplicas
from gradscope.trace.program import Inputs, Program


def diverged_in(program: Program, inputs: Inputs, batch: Any) -> Iterator[DivergedReplicas]:
    """The parameters and the arrays of the batch."""
    leaves = jax.tree_util.tree_flatten_with_path(batch)[0]
    names = [f"batch{jax.tree_util.keystr(path)}" for path, _ in leaves]
    yield from diverged([leaf.name for leaf in program.leaves], inputs.weights)
    yield from diverged(names, [leaf for _, leaf in leaves])


def diverged(names: Sequence[str], arrays: Sequence[Any]) -> Iterator[DivergedReplicas]:
    """Of those arrays that lie on several devices of this process; in the order in which they are given."""
    for name, array in zip(names, arrays, strict=True):
        if isinstance(array, jax.Array) and array.size and len(array.sharding.device_set) > 1:
            yield from _of(name, array)


def is_replicated(array: Any) -> bool:
    """Whether two devices of this process hold the same part of it."""
    if not isinstance(array, jax.Array) or len(array.sharding.device_set) < 2:
        return False
    return any(len(copies) > 1 for copies in copies_of(array).values())


def _of(name: str, array: jax.Array) -> Iterator[DivergedReplicas]:
    parts = copies_of(array)
    sums = {
        place: [checksum_of(each) for each in copies] for place, copies in parts.items() if len(copies) > 1
    }
    found = jax.device_get(sums)
    differing = {
        place: [number for number, each in enumerate(of) if not np.array_equal(each, of[0])]
        for place, of in found.items()
    }
    count = sum(map(len, differing.values()))
    if not count:
        return
    place = next(place for place, numbers in differing.items() if numbers)
    first, other = (np.asarray(parts[place][number]) for number in (0, differing[place][0]))
    yield DivergedReplicas(
        name=name,
        axes=_repeated(array),
        devices=sum(map(len, parts.values())),
        differing=count,
        elements=int(np.count_nonzero(_words(first) != _words(other))),
        size=int(first.size),
        apart=_apart(first, other),
    )


def copies_of(array: jax.Array) -> dict[str, list[Any]]:
    """Those that lie on devices of this process, by the part of the array that they are of."""
    parts: dict[str, list[Any]] = {}
    for shard in _shards(array):
        parts.setdefault(str(shard.index), []).append(_plain(shard.data))
    return parts


def _shards(array: jax.Array) -> Any:
    try:
        return array.addressable_shards
    # JAX 0.10 to 0.12: what `jax.device_put` makes of a JAX array, whole on devices of several processes.
    except ValueError:
        return jax.jit(lambda same: same)(array).addressable_shards


def _plain(data: Any) -> Any:
    return jax.random.key_data(data) if jnp.issubdtype(data.dtype, jax.dtypes.prng_key) else data


def checksum_of(copy: jax.Array) -> Array:
    """u32[2], where the copy lies, whatever mesh the user has set."""
    (device,) = copy.devices()
    with jax.set_mesh(Mesh(np.array([device]), ("copy",))):
        found: Array = _checksum(copy)
        return found


@jax.jit
def _checksum(array: Array) -> Array:
    """u32[2], modulo 2^32: the sum of the words, and that of each times an odd number of its place."""
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        array = jnp.stack([array.real, array.imag])
    if array.dtype == bool:
        array = array.astype(jnp.uint8)
    size = array.dtype.itemsize
    words = lax.bitcast_convert_type(array, {1: jnp.uint8, 2: jnp.uint16}.get(size, jnp.uint32))
    words = words.astype(jnp.uint32).ravel()
    places = lax.iota(jnp.uint32, words.size) * jnp.uint32(0x9E3779B1) | jnp.uint32(1)
    # Mixed first: words that are exchanged, or whose highest bits alone differ, would pass by a plain sum.
    mixed = (words ^ (words >> 16)) * jnp.uint32(0x85EBCA6B)
    mixed = mixed ^ (mixed >> 13)
    return jnp.stack([jnp.sum(mixed, dtype=jnp.uint32), jnp.sum(mixed * places, dtype=jnp.uint32)])


def _words(array: Any) -> Any:
    """As bytes: a NaN is the same NaN, and 0 is not -0."""
    return np.ascontiguousarray(array).reshape(-1).view(np.dtype((np.void, array.dtype.itemsize)))


def _apart(first: Any, other: Any) -> float | None:
    """The largest difference over the largest element; `None` where it is no number."""
    if not jnp.issubdtype(first.dtype, jnp.floating):
        return None
    with np.errstate(all="ignore"):
        a, b = first.astype(np.float64), other.astype(np.float64)
        largest = float(np.max(np.abs([a, b])))
        found = float(np.abs(a - b).max(initial=0.0)) / largest if largest else 0.0
    return found if np.isfinite(found) else None


def _repeated(array: jax.Array) -> tuple[str, ...]:
    """The axes of the mesh along which it is the same; none where its layout has no names."""
    sharding: Any = array.sharding
    mesh, spec = getattr(sharding, "mesh", None), getattr(sharding, "spec", None)
    if mesh is None or spec is None:
        return ()
    used = {name for part in spec for name in (part if isinstance(part, tuple) else (part,))}
    return tuple(name for name, size in mesh.shape.items() if name not in used and size > 1)
