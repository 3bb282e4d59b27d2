"""NumPy's own file formats, read without pickle: one `.npy`, and the `.npy` members of an `.npz`."""

from __future__ import annotations

import struct
import zipfile
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np

from gradscope.errors import GradscopeError

MAGIC = b"\x93NUMPY"
ZIP_MAGIC = b"PK\x03\x04"
_LOCAL_HEADER = 30
"""Bytes of a zip member's fixed header; name and extra field follow, then the data."""


@dataclass(frozen=True)
class Header:
    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """[bytes] of the elements."""
        return prod(self.shape) * self.dtype.itemsize


def read_header(file: IO[bytes], name: str) -> Header:
    """Reads up to the first element. `name` is what errors call the array."""
    try:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read(file)
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise corrupt(name, f"Its header cannot be read: {error}") from None
    if dtype.hasobject:
        raise pickled(name, f"Its dtype is {dtype}, and NumPy stores objects as a pickle.")
    return Header(shape, fortran, dtype)


def mapped(path: Path, name: str) -> np.ndarray[Any, Any]:
    """The array of a `.npy` file; its elements stay on the disk until they are indexed."""
    with path.open("rb") as file:
        header = read_header(file, name)
        return _map(path, file.tell(), header, path.stat().st_size, name)


def mapped_member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray[Any, Any]:
    """The same for a member that is stored as it is, as `np.savez` does."""
    name = f"{info.filename} in {path}"
    with archive.open(info) as member:
        header = read_header(member, name)
        inside = member.tell()
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(_LOCAL_HEADER)
    start = info.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", local[26:30]))
    return _map(path, start + inside, header, start + info.file_size, name)


def _map(path: Path, offset: int, header: Header, end: int, name: str) -> np.ndarray[Any, Any]:
    if offset + header.size > end:
        there = max(0, end - offset)
        raise corrupt(name, f"Its header promises {header.size:,} bytes of elements, and {there:,} are there")
    order: Any = "F" if header.fortran else "C"
    if not header.size:
        return np.zeros(header.shape, header.dtype, order)
    return np.memmap(path, header.dtype, "r", offset, header.shape, order)


def read_array(file: IO[bytes], name: str) -> np.ndarray[Any, Any]:
    """The whole array at the current position of `file`, a file or a member of an archive."""
    header = read_header(file, name)
    elements = file.read(header.size)
    if len(elements) < header.size:
        raise corrupt(
            name, f"Its header promises {header.size:,} bytes of elements, and {len(elements):,} are there"
        )
    return np.frombuffer(elements, header.dtype).reshape(header.shape, order="F" if header.fortran else "C")


def opened_zip(path: Path) -> zipfile.ZipFile:
    """An archive that holds nothing but `.npy` members; a PyTorch file is a zip too, around a pickle."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise corrupt(
            str(path), f"It has the first bytes of a zip archive, but cannot be read as one: {error}"
        ) from None
    members = archive.namelist()
    pickles = [name for name in members if name.endswith((".pkl", ".pickle"))]
    if pickles:
        archive.close()
        raise pickled(str(path), f"It holds `{pickles[0]}`, as PyTorch writes it.")
    others = [name for name in members if not name.endswith(".npy")]
    if others or not members:
        archive.close()
        found = f"It holds `{others[0]}`" if others else "It is empty"
        raise GradscopeError(
            f"{path} is not an `.npz` file.",
            why=f"{found}, and the members of an `.npz` are `.npy` arrays.",
            fix="Write it with `np.savez(path, x=x, y=y)`.",
            slug="unknown-file-format",
        )
    return archive


def pickled(name: str, why: str) -> GradscopeError:
    return GradscopeError(
        f"{name} holds a pickle, which gradscope does not read.",
        why=f"{why} A pickle is a program: loading it can run anything.",
        fix="Load it where you trust it, and save the arrays alone: `np.savez(path, **arrays)`.",
        slug="pickle-refused",
    )


def corrupt(name: str, why: str) -> GradscopeError:
    return GradscopeError(
        f"{name} is damaged or was cut off.",
        why=f"{why.rstrip('.')}.",
        fix="Write or download it again.",
        slug="corrupt-file",
    )
