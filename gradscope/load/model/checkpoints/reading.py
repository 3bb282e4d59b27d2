"""Reads a checkpoint of any known format, told apart by its content, as arrays by name or in order."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data import npy
from gradscope.load.extras import required
from gradscope.load.model.checkpoints.flax_msgpack import read_msgpack
from gradscope.load.model.checkpoints.names import Steps, steps_of_path, steps_of_text
from gradscope.load.model.checkpoints.orbax import OrbaxCheckpoint, StoredArray
from gradscope.load.paths import refuse_pickle, require_existing

Array = np.ndarray[Any, Any]
_UNNAMED = re.compile(r"arr_\d+$")
"""What `np.savez(path, *arrays)` calls them."""
_HDF5 = b"\x89HDF"
_MSGPACK_MAPS = (*range(0x81, 0x90), 0xDE, 0xDF)
KINDS = "safetensors, .npz, an Orbax folder, Flax msgpack, Equinox's tree_serialise_leaves"


@dataclass(frozen=True)
class Checkpoint:
    named: Mapping[Steps, Array | StoredArray]
    ordered: tuple[Array, ...] | None = None
    """Leaves without names, in the order of the tree; then `named` is empty."""
    notes: tuple[str, ...] = ()
    stored: OrbaxCheckpoint | None = None
    """Where arrays are that were not read yet."""


def read_checkpoint(path: Path) -> Checkpoint:
    require_existing(path, "checkpoint")
    if path.is_dir():
        stored = OrbaxCheckpoint(path)
        named = {steps_of_path(each.path): each for each in stored.arrays}
        return Checkpoint(named, notes=stored.notes, stored=stored)
    refuse_pickle(path)
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(npy.ZIP_MAGIC):
        return _npz(path)
    if head.startswith(npy.MAGIC):
        return Checkpoint({}, tuple(_blobs(path)))
    if head.startswith(_HDF5):
        raise unknown(path, "It is an HDF5 file, as Keras writes it.")
    if path.suffix == ".safetensors" or head[8:9] == b"{":
        return _safetensors(path)
    if head and head[0] in _MSGPACK_MAPS:
        return Checkpoint(_flat(read_msgpack(path)))
    raise unknown(path, "Its first bytes are those of none of the formats that are read.")


def unknown(path: Path, why: str) -> GradscopeError:
    return GradscopeError(
        f"{path} is not a checkpoint format that gradscope reads.",
        why=f"{why} It reads {KINDS}.",
        fix="Save the parameters as one of these: `np.savez(path, **arrays)` needs no library.",
        slug="unknown-file-format",
    )


def _npz(path: Path) -> Checkpoint:
    arrays: dict[str, Array] = {}
    with npy.opened_zip(path) as archive:
        for info in archive.infolist():
            name = f"{info.filename} in {path}"
            try:
                with archive.open(info) as member:
                    arrays[info.filename.removesuffix(".npy")] = npy.read_array(member, name)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
                raise npy.corrupt(name, str(error)) from None
    if all(_UNNAMED.match(name) for name in arrays):
        order = sorted(arrays, key=lambda name: int(name.removeprefix("arr_")))
        return Checkpoint({}, tuple(arrays[name] for name in order))
    return Checkpoint({steps_of_text(name): array for name, array in arrays.items()})


def _blobs(path: Path) -> Iterator[Array]:
    """Equinox writes one `.npy` after another; a plain `.npy` is the same with one."""
    end = path.stat().st_size
    with path.open("rb") as file:
        number = 0
        while file.tell() < end:
            yield npy.read_array(file, f"array {number} of {path}")
            number += 1


def _safetensors(path: Path) -> Checkpoint:
    safetensors = required("safetensors", "checkpoints", f"read {path}")
    try:
        with safetensors.safe_open(path, "np") as file:
            names = list(file.keys())
            return Checkpoint({steps_of_text(name): file.get_tensor(name) for name in names})
    except (safetensors.SafetensorError, OSError) as error:
        raise npy.corrupt(str(path), str(error)) from None


def _flat(tree: Any) -> dict[Steps, Array]:
    """Arrays and numbers of nested dicts and lists; anything else is left out."""
    found: dict[Steps, Array] = {}

    def walk(node: Any, path: tuple[Any, ...]) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                walk(value, (*path, key))
        elif isinstance(node, list | tuple):
            for index, value in enumerate(node):
                walk(value, (*path, index))
        elif isinstance(node, np.ndarray | np.generic | int | float | complex):
            found[steps_of_path(path)] = np.asarray(node)

    walk(tree, ())
    return found
