"""Orbax checkpoints: a folder of one, of one step, or of a whole run, whose last step is taken."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data import npy
from gradscope.load.extras import required
from gradscope.load.message_text import listed

_ITEM = "_METADATA"
"""In each folder that holds a pytree."""
_PREFERRED = ("default", "params", "state", "model", "train_state")


@dataclass(frozen=True)
class StoredArray:
    """An array of a checkpoint that was not read yet."""

    path: tuple[Any, ...]
    """The keys of JAX under which it stands."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    number: int


@dataclass(frozen=True)
class StoredPlace:
    """Where an array is to lie, and in which dtype."""

    sharding: Any
    """`None` where nothing ties it to a device."""
    dtype: np.dtype[Any]

    @property
    def spread(self) -> bool:
        """Over several devices."""
        return self.sharding is not None and len(self.sharding.device_set) > 1


class OrbaxCheckpoint:
    """What a folder holds. Arrays are read when it is known which are needed, and where each is to lie."""

    def __init__(self, path: Path) -> None:
        self._ocp = required("orbax.checkpoint", "checkpoints", f"read {path}")
        self._folder = _item_in(path)
        told = f"{path} holds several checkpoints: {self._folder} is used."
        self.notes = () if self._folder == path else (told,)
        with self._opened() as checkpointer:
            metadata = checkpointer.metadata(self._folder.absolute())
            tree = getattr(metadata, "item_metadata", metadata)
            tree = getattr(tree, "tree", tree)
            if tree is None:
                raise ValueError("its metadata cannot be read")
            leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
        self._structure: Any = structure
        self._count = len(leaves)
        self.arrays = tuple(
            StoredArray(path, tuple(leaf.shape), np.dtype(leaf.dtype), number)
            for number, (path, leaf) in enumerate(leaves)
            if _is_array(leaf)
        )

    def read(self, wanted: Mapping[int, StoredPlace | None]) -> dict[int, Any]:
        """By number: as NumPy arrays, or, where a place is given, each part on its own device, so that no
        device and no process holds more than its parts."""
        ocp = self._ocp
        # Before Orbax 0.12 there may be none: then everything is read.
        nothing = getattr(ocp, "PLACEHOLDER", 0)
        items = [0 if number in wanted else nothing for number in range(self._count)]
        arguments = [_restored_to(ocp, wanted.get(number)) for number in range(self._count)]
        with self._opened() as checkpointer:
            tree = checkpointer.restore(
                self._folder.absolute(),
                item=self._structure.unflatten(items),
                restore_args=self._structure.unflatten(arguments),
            )
            found = self._structure.flatten_up_to(tree)
        return {number: found[number] for number in wanted}

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        level = logging.getLogger("absl").level
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        try:
            # Its warnings are about sharding, which a copy in NumPy does not have.
            with warnings.catch_warnings(), self._ocp.PyTreeCheckpointer() as checkpointer:
                warnings.simplefilter("ignore")
                yield checkpointer
        except Exception as error:
            # Orbax and TensorStore raise whatever failed inside them.
            said = (str(error).splitlines() or [""])[0]
            raise npy.corrupt(str(self._folder), f"Orbax reports: {said}") from None
        finally:
            logging.getLogger("absl").setLevel(level)


def _restored_to(ocp: Any, place: StoredPlace | None) -> Any:
    if place is None:
        return ocp.RestoreArgs(restore_type=np.ndarray)
    return ocp.ArrayRestoreArgs(restore_type=jax.Array, sharding=place.sharding, dtype=place.dtype)


def _is_array(metadata: Any) -> bool:
    """Or a number; keys of a random generator and texts are none."""
    try:
        return metadata.shape is not None and np.dtype(metadata.dtype) is not None
    except (AttributeError, TypeError):
        return False


def _item_in(path: Path) -> Path:
    """The folder of a pytree: this one, an item of a step, or an item of the last step of a run."""
    if (path / _ITEM).is_file():
        return path
    steps = sorted((p for p in path.iterdir() if _step_of(p) is not None), key=lambda p: _step_of(p) or 0)
    if steps:
        return _item_in(steps[-1])
    items = sorted(p for p in path.iterdir() if (p / _ITEM).is_file())
    for name in _PREFERRED:
        if path / name in items:
            return path / name
    if len(items) == 1:
        return items[0]
    inside = sorted(p.name for p in path.iterdir())
    raise GradscopeError(
        f"{path} is not an Orbax checkpoint.",
        why=f"No `{_ITEM}` is in it; it holds {listed(inside) or 'nothing'}.",
        fix=f"Give one of {listed([str(p) for p in items])}." if items else "Give the folder that was saved.",
        slug="unknown-file-format",
    )


def _step_of(path: Path) -> int | None:
    """1000 for `1000`, `step_1000` and `checkpoint_1000`."""
    number = path.name.rpartition("_")[2]
    return int(number) if path.is_dir() and number.isdecimal() else None
