"""Reads the tables of a configuration; an unknown key or a wrong type is an error with its place."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from gradscope import rules
from gradscope.config.keys import BY_NAME, KEYS, Unfit, Value, shown, text
from gradscope.config.places import Place, displayed, meant, relative
from gradscope.errors import GradscopeError

SHOWING = ("format", "output", "report", "save", "color", "quiet", "verbose")
Limits = Mapping[tuple[str, str], float]
"""By rule and name of the limit."""


@dataclass(frozen=True, slots=True)
class TargetTable:
    """`[[tool.gradscope.target]]`: settings of the targets that its path names."""

    path: str
    values: Mapping[str, Value]
    limits: Limits
    place: Place


@dataclass(frozen=True, slots=True)
class Config:
    """One file; paths in settings are relative to the working directory, targets as in the file."""

    file: str
    folder: str
    place: Place
    targets: tuple[str, ...] = ()
    entries: tuple[TargetTable, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    limits: Limits = field(default_factory=dict)


def config(path: str, data: Any, table: str) -> Config:
    """The configuration in `data`, the table named `table` of the file; empty for its top level."""
    file = os.path.abspath(path)
    folder = os.path.dirname(file)
    place = Place(displayed(file), f"[{table}]" if table else "")
    if not isinstance(data, dict):
        raise GradscopeError(
            f"{place} is {shown(data)}, not a table.",
            fix=f"Write `[{table}]` on its own line, and the settings below it.",
            slug="bad-configuration",
        )
    prefix = f"{table}." if table else ""
    values = _values(data, {"targets", "limits", "target"}, place, folder, whole_run=True)
    return Config(
        file=file,
        folder=folder,
        place=place,
        targets=_targets(data["targets"], place.at("targets")) if "targets" in data else (),
        entries=_entries(data.get("target", []), place, f"{prefix}target", folder),
        values=values,
        limits=_limits(data.get("limits", {}), place, f"{prefix}limits"),
    )


def _values(
    data: Mapping[str, Any], elsewhere: set[str], place: Place, folder: str, *, whole_run: bool
) -> Mapping[str, Value]:
    """The simple settings of a table; `elsewhere` are the keys that are read elsewhere."""
    known = {key.name for key in KEYS if whole_run or key.per_target}
    values: dict[str, Value] = {}
    for name, given in data.items():
        if name in elsewhere:
            continue
        if name not in known:
            _refuse(place.at(name), known | elsewhere)
        key = BY_NAME[name]
        value = key.value(given, place.at(name))
        values[name] = _from_folder(value, folder) if key.paths else value
    return values


def _refuse(place: Place, known: set[str]) -> NoReturn:
    key = place.key
    if key in SHOWING:
        raise GradscopeError(
            f"{place} is not a setting.",
            why="Output options are set on the command line only.",
            fix=f"Use `gradscope check --{key} ...`.",
            slug="unknown-setting",
        )
    if key == "tool" and not place.table:
        raise GradscopeError(
            f"{place} is not a setting.",
            why="The table [tool.gradscope] is for pyproject.toml only.",
            fix="Put them at the top level of this file.",
            slug="unknown-setting",
        )
    if key in BY_NAME or key in ("targets", "target"):
        raise GradscopeError(
            f"{place} is a setting of the whole run, not of one target.",
            fix="Move it out of the [[target]].",
            slug="unknown-setting",
        )
    raise place.unknown(known)


def _from_folder(value: Value, folder: str) -> Value:
    """Paths relative to the working directory; absolute ones are unchanged."""
    if isinstance(value, tuple):
        return tuple(str(_from_folder(path, folder)) for path in value)
    path = str(value)
    return path if os.path.isabs(path) else relative(os.path.join(folder, path), os.getcwd())


def _targets(given: Any, place: Place) -> tuple[str, ...]:
    items = [given] if isinstance(given, str) else given
    try:
        found = tuple(text(item) for item in items) if isinstance(items, list) else ()
    except Unfit:
        found = ()
    if not found:
        raise GradscopeError(
            f"{place} is {shown(given)}.",
            why="It must be a list of files, `file.py:name`, `package.module:name` or patterns.",
            fix='For example, write `targets = ["models/*.py"]`, or remove the key.',
            slug="unusable-setting",
        )
    return found


def _entries(given: Any, place: Place, table: str, folder: str) -> tuple[TargetTable, ...]:
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise GradscopeError(
            f"{place.at('target')} is {shown(given)}.",
            why="The settings of single targets are an array of tables.",
            fix=f"Write `[[{table}]]`, with double brackets, and `path = ...` below it.",
            slug="unusable-setting",
        )
    entries: list[TargetTable] = []
    for item in given:
        where = Place(place.file, f"[[{table}]]")
        try:
            path = text(item.get("path"))
        except Unfit:
            raise where.error(
                "its `path` is missing." if "path" not in item else f"`path` is {shown(item['path'])}.",
                why="The path selects the targets that the settings are for.",
                fix='For example, write `path = "models/rnn.py"`.',
                slug="unusable-setting",
            ) from None
        where = Place(place.file, f'[[{table}]] "{path}"')
        if any(os.path.normpath(entry.path) == os.path.normpath(path) for entry in entries):
            raise where.error(
                "the table is there twice.", fix="Merge the two tables.", slug="repeated-target"
            )
        values = _values(item, {"path", "limits"}, where, folder, whole_run=False)
        entries.append(
            TargetTable(path, values, _limits(item.get("limits", {}), where, f"{table}.limits"), where)
        )
    return tuple(entries)


def _limits(given: Any, place: Place, table: str) -> Limits:
    if not isinstance(given, dict) or not all(isinstance(values, dict) for values in given.values()):
        raise GradscopeError(
            f"{place.at('limits')} is {shown(given)}.",
            why="Limits are given in one table per rule.",
            fix=f"For example, write `[{table}.vanishing-gradient]`, and the limits below it.",
            slug="unusable-setting",
        )
    return {
        (rule, name): _limit(rule, name, value, place)
        for rule, values in given.items()
        for name, value in values.items()
    }


def _limit(rule: str, name: str, value: Any, place: Place) -> float:
    place = place.at(f"limits.{rule}.{name}")
    try:
        known = rules.get(rule).limits
    except GradscopeError as error:
        raise place.error(error.what, why=error.why, fix=error.fix, slug=error.slug) from None
    if name not in known:
        raise place.error(
            "the rule has no limit with this name.",
            fix=meant(name, known)
            or (f"Its limits are {', '.join(sorted(known))}." if known else "It has no limits."),
            slug="unknown-limit",
        )
    if type(value) not in (int, float) or not (math.isfinite(value) and value > 0):
        raise GradscopeError(
            f"{place} is {shown(value)}.",
            why="A limit must be a finite number above zero, without quotes.",
            fix=f"The default is {known[name]:g}.",
            slug="unusable-limit",
        )
    return value  # type: ignore[no-any-return]
