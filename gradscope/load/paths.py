"""Checks of the files that the command line names: they exist, can be read, and are not pickles."""

from __future__ import annotations

from pathlib import Path

from gradscope.errors import GradscopeError
from gradscope.load.data import npy
from gradscope.load.message_text import did_you_mean, listed

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")


def require_existing(path: Path, what: str) -> None:
    """Raises unless `path` is a folder, or a readable file that is not empty; errors call it `what`."""
    if not path.exists():
        folder = path.parent
        names = sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []
        raise GradscopeError(
            f"There is no {what} {path}.",
            why=f"The folder {folder} holds {listed(names) or 'nothing'}."
            if folder.is_dir()
            else f"There is no folder {folder}.",
            fix=did_you_mean(path.name, names) or "Check the path.",
            slug="no-such-file",
        )
    if path.is_dir():
        return
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise GradscopeError(
            f"{path} cannot be read: {error.strerror}.",
            why=f"Opening it failed with {type(error).__name__}.",
            fix="Give a file that you may read.",
            slug="no-such-file",
        ) from None
    if empty:
        raise npy.corrupt(str(path), "It is empty")


def require_file(path: Path, what: str) -> None:
    require_existing(path, what)
    if path.is_dir():
        raise GradscopeError(
            f"{path} is a folder.",
            why=f"The {what} is a file.",
            fix="Name the files in it one by one.",
            slug="no-such-file",
        )


def refuse_pickle(path: Path) -> None:
    """Raises for a pickle, recognized by its first bytes or its name; nothing is loaded."""
    with path.open("rb") as file:
        head = file.read(2)
    if head[:1] == b"\x80" and head[1:] in (b"\x02", b"\x03", b"\x04", b"\x05"):
        raise npy.pickled(str(path), "Its first bytes are those of a Python pickle.")
    if path.name.lower().endswith(PICKLES):
        raise npy.pickled(str(path), f"Files that end in {path.suffix} are pickles.")
