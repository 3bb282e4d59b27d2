"""Resolves files, names in files, modules and patterns to single targets."""

from __future__ import annotations

import glob
import os
from dataclasses import dataclass

from gradscope.config.places import Place, relative
from gradscope.config.tables import Config, TargetTable


@dataclass(frozen=True, slots=True)
class Named:
    """One target: a file or a module, with an optional name in it."""

    where: str
    """An absolute path, or the dotted name of a module."""
    name: str | None
    identity: str
    """The real path, with symbolic links resolved; for a module, its name."""
    is_file: bool
    typed: str | None = None
    """The text on the command line."""

    @classmethod
    def file(cls, path: str, name: str = "") -> Named:
        return cls(os.path.normpath(path), name or None, os.path.realpath(path), True)

    @classmethod
    def module(cls, where: str, name: str = "") -> Named:
        return cls(where, name or None, where, False)

    def covers(self, other: Named) -> bool:
        """Whether settings for this target apply to `other`: those of a file apply to every name in it."""
        return self.identity == other.identity and self.name in (None, other.name)

    def seen_from(self, folder: str) -> str:
        """The target relative to a folder; a module is the same everywhere."""
        where = relative(self.where, folder) if self.is_file else self.where
        return where if self.name is None else f"{where}:{self.name}"


def parse(text: str, folder: str) -> Named:
    """The target of one string, relative to `folder`; the loader checks that it exists."""
    path = os.path.join(folder, text)
    if os.path.exists(path):
        return Named.file(path)
    where, colon, name = text.rpartition(":")
    if not (colon and where and name.isidentifier()):
        where, name = text, ""
    path = os.path.join(folder, where)
    is_module = all(part.isidentifier() for part in where.split(".")) and not where.endswith(".py")
    return Named.module(where, name) if is_module and not os.path.exists(path) else Named.file(path, name)


def configured(config: Config) -> tuple[Named, ...]:
    """All targets of a configuration, in order: the listed ones, then those of `[[target]]` tables only."""
    found: dict[tuple[str, str | None], Named] = {}
    written: set[tuple[str, str | None]] = set()
    place = config.place.at("targets")
    for text in config.targets:
        many = is_pattern(text, config.folder)
        for named in expanded(text, config.folder, place):
            key = (named.identity, named.name)
            # A file that a pattern also matches is checked once; one that is listed twice is an error.
            if not many and key in written:
                raise place.error(
                    f'"{text}" is listed twice.', fix="Remove one of them.", slug="repeated-target"
                )
            if not many:
                written.add(key)
            found.setdefault(key, named)
    listed = list(found.values())
    alone = [of_entry(entry, config.folder) for entry in config.entries]
    for targets in alone:
        if not any(named.covers(other) for named in targets for other in listed):
            listed += targets
    return tuple(listed)


def of_entry(entry: TargetTable, folder: str) -> tuple[Named, ...]:
    """The targets that the path of a `[[target]]` names."""
    return expanded(entry.path, folder, entry.place.at("path"))


def is_pattern(text: str, folder: str) -> bool:
    return glob.has_magic(text) and not os.path.lexists(os.path.join(folder, text))


def expanded(text: str, folder: str, place: Place) -> tuple[Named, ...]:
    """The target that `text` names, or the Python files that it matches as a pattern.

    Patterns skip files that begin with `_`, such as `__init__.py` and `_layers.py`.
    """
    if not is_pattern(text, folder):
        return (parse(text, folder),)
    pattern, colon, name = text.rpartition(":")
    if not (colon and name.isidentifier()):
        pattern, name = text, ""
    paths = sorted(path for path in glob.glob(pattern, root_dir=folder, recursive=True) if _is_source(path))
    if not paths:
        raise place.error(
            f'"{text}" matches no Python file.',
            why=f"The pattern is relative to {folder}, and skips files that begin with _.",
            fix="Correct the pattern; ** matches any number of folders.",
            slug="unmatched-target",
        )
    return tuple(Named.file(os.path.join(folder, path), name) for path in paths)


def _is_source(path: str) -> bool:
    return path.endswith(".py") and not os.path.basename(path).startswith("_")
