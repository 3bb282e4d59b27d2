"""What the TAB key offers: each press starts a process, so no rule is imported for it."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterable, Iterator

import typer

from gradscope.report import FORMATS
from gradscope.report.exports import EXPORTS

MOST_FILES = 100
MOST_FOLDERS = 50
"""Looked into for one press of the key; deeper files come when more of the path is typed."""
HARMLESS = re.compile(r"[\w./~@%+,=-]+")
"""Typer's completion for zsh evaluates what it is offered, and the one for bash does not quote it."""
OWN_FORMATS = {
    "rules": ("terminal", "json"),
    "explain": ("terminal", "json"),
    "diff": ("terminal", "json", "markdown"),
}
"""By command, where it shows something else than a report."""
NEVER_TARGETS = frozenset({"__pycache__", "node_modules", "site-packages", "venv"})


def rule(incomplete: str) -> list[str]:
    return [name for name in _rule_names() if name.startswith(incomplete)]


def rule_list(incomplete: str) -> list[str]:
    """The last of several names with commas."""
    return _after_commas(incomplete, _rule_names())


def policy(incomplete: str) -> list[str]:
    from gradscope.gate.policy import NEVER
    from gradscope.records import Severity

    alone = () if "," in incomplete else (NEVER,)
    return _after_commas(incomplete, (*(severity.value for severity in Severity), *alone, *_rule_names()))


def format_name(ctx: typer.Context, incomplete: str) -> list[str]:
    known: Iterable[str] = OWN_FORMATS.get(ctx.info_name or "", FORMATS)
    return [name for name in known if name.startswith(incomplete)]


def format_and_file(incomplete: str) -> list[str]:
    """The format, up to the sign behind which the file is named."""
    return [f"{name}=" for name in FORMATS if name.startswith(incomplete)]


def export_and_file(incomplete: str) -> list[str]:
    return [f"{name}=" for name in EXPORTS if name.startswith(incomplete)]


def python_file(incomplete: str) -> list[str]:
    """Files below what is typed, never a folder: a shell would put a blank behind it.

    With none the shell falls back to its own completion of paths; it does so for names that must be quoted.
    """
    folder, start = os.path.split(incomplete)
    found: list[str] = []
    for path in _python_files(os.path.expanduser(folder), start):
        if HARMLESS.fullmatch(typed := os.path.join(folder, path)):
            found.append(typed)
        if len(found) == MOST_FILES:
            break
    return found


def _python_files(folder: str, start: str) -> Iterator[str]:
    """Relative to `folder`, nearest first; `start` begins the first part of the path."""
    waiting = deque([""])
    looked_into = 0
    while waiting and looked_into < MOST_FOLDERS:
        inside = waiting.popleft()
        looked_into += 1
        for entry in _entries(os.path.join(folder, inside)):
            name = entry.name
            if not (inside or name.startswith(start)) or (name.startswith(".") and not start.startswith(".")):
                continue
            if name.endswith(".py"):
                yield os.path.join(inside, name)
            elif name not in NEVER_TARGETS and _is_folder(entry):
                waiting.append(os.path.join(inside, name))


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder or os.curdir), key=lambda entry: entry.name)
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _after_commas(incomplete: str, known: Iterable[str]) -> list[str]:
    done, comma, last = incomplete.rpartition(",")
    taken = done.split(",")
    return [f"{done}{comma}{name}" for name in known if name.startswith(last) and name not in taken]


def _rule_names() -> Iterable[str]:
    from gradscope.rules import sources

    return sources.files()
