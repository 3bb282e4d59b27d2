"""The place of a key in a configuration file, and the nearest known name."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from gradscope.errors import GradscopeError


@dataclass(frozen=True, slots=True)
class Place:
    """A key of a table of a file; as text: `` `batches` in [tool.gradscope] of pyproject.toml ``."""

    file: str
    """The path as it is shown."""
    table: str
    """With its brackets; empty for the top level."""
    key: str = ""

    def __str__(self) -> str:
        where = f"{self.table} of {self.file}" if self.table else self.file
        return f"`{self.key}` in {where}" if self.key else where

    def at(self, key: str) -> Place:
        return Place(self.file, self.table, key)

    def error(self, what: str, *, why: str = "", fix: str = "", slug: str) -> GradscopeError:
        """An error about this key."""
        return GradscopeError(f"{self}: {what}", why=why, fix=fix, slug=slug)

    def unknown(self, known: Iterable[str]) -> GradscopeError:
        """The error for an unknown key; it names the nearest known one."""
        listed = sorted(known)
        return GradscopeError(
            f"{self} is not a setting.",
            fix=meant(self.key, listed) or f"The settings are {', '.join(listed)}.",
            slug="unknown-setting",
        )


def meant(name: str, known: Iterable[str]) -> str:
    """`Did you mean ...?`, or an empty string where no name is near."""
    near = get_close_matches(name.lower().replace("_", "-"), sorted(known), n=1, cutoff=0.5)
    near = near or get_close_matches(name.lower().replace("-", "_"), sorted(known), n=1, cutoff=0.5)
    return f"Did you mean `{near[0]}`?" if near else ""


def relative(path: str, folder: str) -> str:
    """A path relative to a folder, with `/`; unchanged if it is on another drive."""
    try:
        return os.path.relpath(path, folder).replace(os.sep, "/")
    except ValueError:
        return path


def displayed(path: str) -> str:
    """A path as it is shown: relative if it is below the working directory."""
    here = relative(path, os.getcwd())
    return path if here.startswith(os.pardir) else here
