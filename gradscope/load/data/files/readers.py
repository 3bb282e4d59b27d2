"""Opens one data file by its format: as arrays with random access to rows, or as blocks read in order."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.errors import GradscopeError
from gradscope.load.data import npy
from gradscope.load.extras import required

Array = np.ndarray[Any, Any]
Block = dict[str, Array]
"""Consecutive rows of every requested array."""
MEMBER_BLOCK = 1 << 22
"""[bytes] read at a time of each compressed array."""


@dataclass(frozen=True)
class Picked:
    """Arrays on disk: any rows of them can be read without the others."""

    path: Path
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, Any]
    pick: Callable[[str, Array], Array]
    """Name and row numbers -> those rows."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.shapes)


@dataclass(frozen=True)
class Streamed:
    """A file that is read in order; `blocks(names, seed)` starts a new pass."""

    path: Path
    names: tuple[str, ...]
    blocks: Callable[[Sequence[str], int | None], Iterator[Block]]
    """Without a seed in the order of the file; with one in any order."""
    notes: tuple[str, ...] = ()
    text: bool = False
    """Written as text: its numbers have no dtype of their own."""


DataFile = Picked | Streamed


def npy_file(path: Path) -> Picked:
    name = path.stem
    return _picked(path, {name: npy.mapped(path, str(path))})


def npz_file(path: Path) -> DataFile:
    with npy.opened_zip(path) as archive:
        infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        if all(info.compress_type == zipfile.ZIP_STORED for info in infos.values()):
            return _picked(path, {n: npy.mapped_member(path, archive, info) for n, info in infos.items()})
    return Streamed(path, tuple(infos), lambda names, _seed: _members(path, names))


def safetensors_file(path: Path) -> Picked:
    safetensors = required("safetensors", "checkpoints", f"read {path}")
    try:
        handle = safetensors.safe_open(path, "np")
        slices = {name: handle.get_slice(name) for name in handle.keys()}  # noqa: SIM118
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    except (safetensors.SafetensorError, OSError) as error:
        raise npy.corrupt(str(path), str(error)) from None

    def pick(name: str, rows: Array) -> Array:
        return np.concatenate([slices[name][int(row) : int(row) + 1] for row in rows])

    return Picked(path, shapes, {name: part.get_dtype() for name, part in slices.items()}, pick)


def _picked(path: Path, arrays: dict[str, Array]) -> Picked:
    return Picked(
        path,
        {name: array.shape for name, array in arrays.items()},
        {name: array.dtype for name, array in arrays.items()},
        lambda name, rows: arrays[name][rows],
    )


def _members(path: Path, names: Sequence[str]) -> Iterator[Block]:
    """Compressed members side by side, as many rows of each at a time as the widest allows."""
    with npy.opened_zip(path) as archive:
        opened = {name: archive.open(f"{name}.npy") for name in names}
        try:
            headers = {n: npy.read_header(file, f"{n} in {path}") for n, file in opened.items()}
            for name, header in headers.items():
                require_numeric(name, header.dtype, path)
            require_rows({name: header.shape for name, header in headers.items()}, str(path))
            widest = max(header.size // max(1, header.shape[0]) for header in headers.values())
            fortran = any(header.fortran and len(header.shape) > 1 for header in headers.values())
            count = next(iter(headers.values())).shape[0]
            step = count if fortran else max(1, MEMBER_BLOCK // max(1, widest))
            for first in range(0, count, step):
                rows = min(step, count - first)
                yield {n: _rows(opened[n], h, rows, f"{n} in {path}") for n, h in headers.items()}
        finally:
            for file in opened.values():
                file.close()


def _rows(file: Any, header: npy.Header, rows: int, name: str) -> Array:
    shape = (rows, *header.shape[1:])
    wanted = npy.Header(shape, header.fortran, header.dtype)
    try:
        elements = file.read(wanted.size)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise npy.corrupt(name, str(error)) from None
    if len(elements) < wanted.size:
        raise npy.corrupt(name, "It ends before the last row that its header promises")
    return np.frombuffer(elements, header.dtype).reshape(shape, order="F" if header.fortran else "C")


def require_numeric(name: str, dtype: Any, path: Path) -> None:
    if dtype == np.bool_ or jnp.issubdtype(dtype, np.number):
        return
    raise GradscopeError(
        f"`{name}` of {path} has dtype {dtype}.",
        why="JAX computes with numbers only.",
        fix="Encode it as numbers, or choose other arrays with --x and --y.",
        slug="not-numeric",
    )


def require_rows(shapes: dict[str, tuple[int, ...]], where: str) -> int:
    """The number of rows that all arrays share."""
    rows = {name: shape[0] if shape else None for name, shape in shapes.items()}
    if len(set(rows.values())) == 1 and None not in rows.values():
        return next(iter(rows.values())) or 0
    found = [f"  {n}: {'no rows, a scalar' if r is None else f'{r:,} rows'}" for n, r in rows.items()]
    raise GradscopeError(
        f"The arrays of {where} do not have the same number of rows.",
        why="Batches are cut row by row over all arrays that are used.",
        fix="Name those that belong together with --x and --y.",
        details="\n".join(found[:10]),
        slug="mismatched-rows",
    )
