"""Files that are written whole or not at all, and the question whether they can be."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NoReturn

from gradscope.errors import GradscopeError

NEW = 0o666
"""The mode of a new file, of which the kernel takes what the umask says. Reading the umask means to set it,
for every thread of the process."""


def write_whole(path: str, content: str | bytes) -> None:
    """Write all of `content` or leave `path` as it was; a device or pipe is written to, never replaced."""
    target = Path(os.path.realpath(path))
    data = content if isinstance(content, bytes) else content.encode("utf-8", errors="backslashreplace")
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(data)
            return
        _replace(target, data)
    except OSError as error:
        _unwritable(path, error.strerror or type(error).__name__, error)


def check_writable(path: str) -> None:
    """Raise now what `write_whole` would raise after minutes of compiling."""
    target = Path(os.path.realpath(path))
    if target.is_dir():
        _unwritable(path, "It is a folder")
    if not target.parent.is_dir():
        _unwritable(path, f'There is no folder "{target.parent}"')
    if not os.access(target if target.exists() else target.parent, os.W_OK):
        _unwritable(path, "Permission denied")


def _replace(target: Path, data: bytes) -> None:
    """By a file beside it, which is never open to more readers than the target."""
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    beside = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, NEW if mode is None else mode)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        if mode is not None:
            os.chmod(beside, mode)
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _unwritable(path: str, why: str, error: OSError | None = None) -> NoReturn:
    raise GradscopeError(
        f'"{path}" cannot be written.',
        why=f"{why}.",
        fix="Name a file in a folder that exists and that you may write to.",
        slug="unwritable-output",
    ) from error
