"""The key `lang`, read by itself: it counts for commands that read no configuration, and for its errors."""

from __future__ import annotations

import os
import tomllib

from gradscope.language import LANGUAGES

FILES = ("gradscope.toml", "pyproject.toml")


def language(start: str, named: str | None = None) -> str | None:
    """Of the nearest configuration, or of the file that is named; `None` where it says nothing that can be
    used: what is wrong with it is told by whoever reads all of it."""
    folder = os.path.abspath(start)
    if named is not None:
        return _of_file(os.path.join(folder, named))[1]
    while True:
        for name in FILES:
            there, found = _of_file(os.path.join(folder, name))
            if there:
                return found
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above


def _of_file(path: str) -> tuple[bool, str | None]:
    """Whether it configures gradscope, and its language."""
    try:
        with open(path, "rb") as file:
            read = file.read()
        shared = os.path.basename(path) == FILES[1]
        if shared and b"gradscope" not in read:
            return False, None
        data = tomllib.loads(read.decode("utf-8")) if b"lang" in read or shared else {}
        table = data.get("tool", {}).get("gradscope") if shared else data
    except (OSError, ValueError, AttributeError):
        return False, None
    if not isinstance(table, dict):
        return False, None
    found = table.get("lang")
    return True, found if found in LANGUAGES else None
