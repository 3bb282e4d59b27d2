"""A pytree with the arrays of a checkpoint in place of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.message_text import listed
from gradscope.load.model.checkpoints.matching import LeafToFill, match
from gradscope.load.model.checkpoints.names import Steps, steps_of_path, text_of
from gradscope.load.model.checkpoints.orbax import OrbaxCheckpoint, StoredPlace
from gradscope.load.model.checkpoints.reading import Checkpoint, read_checkpoint
from gradscope.peers.placing import put

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Filled:
    tree: Any
    notes: tuple[str, ...]


def fill(
    tree: Any, needed: frozenset[Steps] | None, path: str, layout: Mapping[Steps, Any] | None = None
) -> Filled:
    """`tree` with the leaves of the checkpoint at `path`.

    `needed` are the names without which it is refused, by default those of all floating arrays; `layout` has
    the shardings of those that are to lie elsewhere than in `tree`. Python integers and booleans, which are
    settings of a program, and PRNG keys stay as they are.
    """
    checkpoint = read_checkpoint(Path(path))
    flat, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves = [leaf for _, leaf in flat]
    names = [steps_of_path(keys) for keys, _ in flat]
    if checkpoint.ordered is not None:
        given, notes = _by_order(leaves, names, checkpoint.ordered, path)
    else:
        given, notes = _by_name(leaves, names, needed, checkpoint, path)
    casts: dict[str, list[str]] = {}
    places = {index: _place_of(leaves[index], (layout or {}).get(names[index])) for index in given}
    read = given if checkpoint.stored is None else _read(checkpoint.stored, given, places)
    for index, array in read.items():
        name, place = text_of(names[index]), places[index]
        if isinstance(array, jax.Array):
            _told_cast(given[index].dtype, np.dtype(array.dtype), name, path, casts)
            leaves[index] = array
        else:
            made = _cast(array, leaves[index], name, path, casts)
            leaves[index] = made if place is None else _put(made, place)
    notes = (*checkpoint.notes, *notes, *(_cast_note(how, which) for how, which in casts.items()))
    return Filled(jax.tree_util.tree_unflatten(structure, leaves), notes)


def _read(
    stored: OrbaxCheckpoint, given: Mapping[int, Any], places: Mapping[int, StoredPlace | None]
) -> dict[int, Any]:
    """The arrays that leaves get: part by part where they are to lie on several devices."""
    spread = {index: place if place is not None and place.spread else None for index, place in places.items()}
    found = stored.read({array.number: spread[index] for index, array in given.items()})
    values = {index: found[array.number] for index, array in given.items()}
    return {
        index: value if isinstance(value, jax.Array) else np.asarray(value) for index, value in values.items()
    }


def _place_of(leaf: Any, sharding: Any) -> StoredPlace | None:
    """`None` for what is no array of JAX."""
    if not isinstance(leaf, jax.Array):
        return None
    here = leaf.sharding if leaf.committed else None
    return StoredPlace(sharding or here, np.dtype(leaf.dtype))


def _put(array: Array, place: StoredPlace) -> Any:
    """One that nothing ties to a device goes wherever others are."""
    return jnp.asarray(array) if place.sharding is None else put(array, place.sharding)


def array_names(tree: Any) -> frozenset[Steps]:
    """Names of the floating arrays of a pytree."""
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return frozenset(steps_of_path(keys) for keys, leaf in flat if _is_floating(leaf))


def _by_name(
    leaves: Sequence[Any],
    names: Sequence[Steps],
    needed: frozenset[Steps] | None,
    checkpoint: Checkpoint,
    path: str,
) -> tuple[dict[int, Any], tuple[str, ...]]:
    places = {name: i for i, name in enumerate(names) if _is_fillable(leaves[i])}
    required = needed if needed is not None else {n for n, i in places.items() if _is_floating(leaves[i])}
    wanted = {
        name: LeafToFill(np.shape(leaves[i]), str(jnp.result_type(leaves[i])), name in required)
        for name, i in places.items()
    }
    settings = {n: a for n, a in checkpoint.named.items() if n in set(names) - set(places)}
    found = {n: a for n, a in checkpoint.named.items() if n not in settings}
    matched = match(wanted, found, path)
    under = f", under `{text_of(matched.prefix)}`" if matched.prefix else ""
    notes = [f"The parameters are those of {path}{under}."]
    if matched.ignored:
        notes.append(
            f"{path}: {listed(matched.ignored)} {'is' if len(matched.ignored) == 1 else 'are'} not used."
        )
    kept = [text_of(name) for name in wanted if name not in matched.leaves]
    if kept:
        notes.append(
            f"{path} does not hold {listed(kept)}: {'it stays' if len(kept) == 1 else 'they stay'} initial."
        )
    return {places[name]: array for name, array in matched.leaves.items()}, tuple(notes)


def _by_order(
    leaves: Sequence[Any], names: Sequence[Steps], ordered: Sequence[Array], path: str
) -> tuple[dict[int, Array], tuple[str, ...]]:
    """All arrays and numbers, as Equinox writes them; or only the floating arrays."""
    every = [i for i, leaf in enumerate(leaves) if isinstance(leaf, _NUMBERS) and not _is_key(leaf)]
    floating = [i for i in every if _is_floating(leaves[i])]
    places = every if len(every) == len(ordered) else floating
    if len(places) != len(ordered):
        raise _mismatch(
            f"{path} holds {len(ordered)} arrays; the model has {len(every)}, of which {len(floating)} are "
            "floating.",
            "Its arrays have no names and are taken in the order of the leaves: their number has to agree.",
            "",
        )
    wrong = [
        f"{text_of(names[i])}: {list(np.shape(leaves[i]))} here, {list(array.shape)} there"
        for i, array in zip(places, ordered, strict=True)
        if np.shape(leaves[i]) != array.shape
    ]
    if wrong:
        raise _mismatch(
            f"{path} does not fit the model: {len(wrong)} of another shape.",
            "Its arrays have no names: they are taken in the order of the leaves.",
            "\n".join(wrong[:8]),
        )
    given = {i: a for i, a in zip(places, ordered, strict=True) if _is_fillable(leaves[i])}
    return given, (
        f"The parameters are those of {path}, whose {len(ordered)} arrays are taken in their order.",
    )


_NUMBERS = (jax.Array, np.ndarray, np.generic, bool, int, float, complex)


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_fillable(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic | float | complex) and not _is_key(leaf)


def _is_floating(leaf: Any) -> bool:
    return _is_fillable(leaf) and jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


def _cast(array: Array, leaf: Any, name: str, path: str, casts: dict[str, list[str]]) -> Any:
    """`array` in the dtype of `leaf`."""
    target = np.dtype(jnp.result_type(leaf))
    array = _typed(array, target)
    _told_cast(array.dtype, target, name, path, casts)
    if array.dtype != target:
        with np.errstate(over="ignore", invalid="ignore"):
            array = array.astype(target)
    if isinstance(leaf, float | complex) and not isinstance(leaf, np.generic):
        return type(leaf)(array.item())
    return array


def _told_cast(
    source: np.dtype[Any], target: np.dtype[Any], name: str, path: str, casts: dict[str, list[str]]
) -> None:
    """Raises where one is of whole numbers and the other is not."""
    if jnp.issubdtype(target, jnp.inexact) != jnp.issubdtype(source, jnp.inexact) or source.kind in "OUSMm":
        raise _mismatch(
            f"{name} is {target} in the model and {source} in {path}.",
            "Whole numbers and floating numbers are not taken for each other.",
            "",
        )
    if source != target:
        casts.setdefault(f"{source} to {target}", []).append(name)


def _typed(array: Array, target: np.dtype[Any]) -> Array:
    """NumPy's files forget the dtypes that are not its own: bfloat16 comes back as two bytes."""
    if array.dtype.kind != "V" or array.dtype.names or array.dtype in _EXTENDED:
        return array
    if array.dtype.itemsize == target.itemsize:
        return array.view(target)
    return array.view(ml_dtypes.bfloat16) if array.dtype.itemsize == 2 else array


_EXTENDED = tuple(np.dtype(getattr(ml_dtypes, n)) for n in ("bfloat16", "float8_e4m3fn", "float8_e5m2"))


def _cast_note(how: str, which: Sequence[str]) -> str:
    return f"The checkpoint's {listed(which)} {'is' if len(which) == 1 else 'are'} cast from {how}."


def _mismatch(what: str, why: str, details: str) -> GradscopeError:
    return GradscopeError(
        what,
        why=why,
        fix="Give the checkpoint of this very model, or make the model as it was when it was saved.",
        details=details,
        slug="checkpoint-mismatch",
    )
