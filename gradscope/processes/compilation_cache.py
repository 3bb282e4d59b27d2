"""JAX's persistent compilation cache, so that a second check of the same file need not compile again.

JAX's own limit on its size needs a package that nothing else here does, and takes a lock and looks at every
entry at each read and write, so old entries are removed here, once for a process.
"""

from __future__ import annotations

import contextlib
import os
import time
import zlib
from pathlib import Path

WRITING_S = 2.0
"""More than the writing of an entry takes."""
LIMIT = 512 * 2**20
"""Bytes; an entry is 10 KB to a few MB, so this holds hundreds of models."""


def folder() -> Path | None:
    """None for a user without a home, as `docker run --user 12345` makes one: then nothing is kept."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gradscope" / "xla"
    except RuntimeError:
        return None


def use() -> None:
    """Point JAX to our folder, unless the user has set one (an empty string turns the cache off).

    Entries from 0.05 s of compile time on are kept: below that, reading one back costs as much.
    """
    where = folder()
    if where is None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(where)
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
    prune(where, LIMIT)


def prune(where: Path, limit: int) -> None:
    """Remove the entries used longest ago until `limit` bytes are left. What cannot be removed stays."""
    try:
        entries = [(_used(e), e.stat().st_size, e.path) for e in os.scandir(where) if e.is_file()]
    except OSError:
        return
    total = sum(size for _, size, _ in entries)
    for _, size, path in sorted(entries):
        if total <= limit:
            return
        try:
            os.unlink(path)
        except OSError:
            continue
        total -= size


def _used(entry: os.DirEntry[str]) -> float:
    """The time of the last use; of writing, where reads leave no trace (a file system mounted `noatime`).

    There the oldest entry goes first, used or not: JAX says of no read which entry it was of.
    """
    found = entry.stat()
    return max(found.st_atime, found.st_mtime)


def forget_unfinished() -> None:
    """After a process was killed: remove what it was writing; a folder of the user's is left alone.

    JAX writes an entry in place, and never again where there is one: half of one would cost a warning and
    the compilation in every run to come. What the other processes have just written is whole, and stays.
    """
    where = folder()
    if where is None or os.environ.get("JAX_COMPILATION_CACHE_DIR", str(where)) != str(where):
        return
    since = time.time() - WRITING_S
    with contextlib.suppress(OSError):
        for entry in os.scandir(where):
            if entry.is_file() and entry.stat().st_mtime >= since and not _is_whole(Path(entry.path)):
                os.unlink(entry.path)


def _is_whole(path: Path) -> bool:
    """Whether it is compressed data up to its end; of what is no zlib, as JAX writes it beside the package
    `zstandard`, nobody knows."""
    data = zlib.decompressobj()
    with contextlib.suppress(zlib.error):
        data.decompress(path.read_bytes())
    return data.eof
