"""A page of the documentation on a terminal: its lines are filled anew, as those of the file are as long as
suits an editor.

Rich's Markdown makes a blank of each end of a line, also between characters of a script that has no blanks,
breaks such a line at the few blanks that it has, and cuts off what does not fit into a cell of a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from rich.cells import cell_len

from gradscope.report.shared.base import Line
from gradscope.report.terminal.lines import wrap

INDENT = 2
_ITEM = re.compile(r"(?:[-*]|\d+\.) ")
_HEADING = re.compile(r"#+ ")
_EMPHASIS = re.compile(r"(\*\*?)(\S(?:[^*]*[^\s*])?)\1")
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_CELL = re.compile(r"(?<!\\)\|")
CODE = "    "
_FENCE = "```"
_WIDE = r"[\u3000-\u30ff\u3400-\u9fff\uff01-\uff60]"
_BETWEEN_WIDE = re.compile(rf"(?<={_WIDE}) (?={_WIDE})")
"""What is left of a mark of emphasis."""
NO_ROOM = "\u200b"
_PUNCTUATION = "、。「」『』（）：；"


def laid_out(text: str, width: int, color: bool) -> Iterator[Line]:
    """The lines of a Markdown page, none wider than `width` but code and tables that cannot be."""
    first = True
    for block in _blocks(text):
        if not first:
            yield []
        first = False
        yield from _block(block, width, color)


def _blocks(text: str) -> Iterator[list[str]]:
    """What blank lines part; a heading stands by itself."""
    lines = list(_without_fences(text.split("\n")))
    for filled, part in groupby(lines, lambda line: bool(line.strip())):
        if filled:
            for _, group in groupby(part, _kind):
                yield list(group)


def _without_fences(lines: list[str]) -> Iterator[str]:
    """Code between fences as code that is indented."""
    fenced = False
    for line in lines:
        if line.startswith(_FENCE):
            fenced = not fenced
        else:
            yield CODE + line if fenced and line.strip() else line


def _kind(line: str) -> str:
    if _HEADING.match(line):
        return line
    return "code" if line.startswith(CODE) else "table" if line.startswith(("| ", "|-")) else "text"


def _block(lines: list[str], width: int, color: bool) -> Iterator[Line]:
    kind = _kind(lines[0])
    if kind == "code":
        yield from ([(" " * INDENT + line.removeprefix(CODE), "bar")] for line in lines)
    elif kind == "table":
        yield from _table(lines, width, color)
    elif heading := _HEADING.match(lines[0]):
        yield from _filled(lines[0][heading.end() :], width, "", color, "strong")
    else:
        for item in _items(lines):
            sign = _ITEM.match(item)
            lead = sign.group() if sign else ""
            yield from _filled(item[len(lead) :], width, lead, color)


def _items(lines: list[str]) -> Iterator[str]:
    """The entries of a list, or all as one paragraph."""
    item: list[str] = []
    for line in lines:
        if _ITEM.match(line) and item:
            yield joined(item)
            item = []
        item.append(line)
    yield joined(item)


def joined(lines: list[str]) -> str:
    """Lines of prose as one; no blank between wide characters, and at marks that bring their own room."""
    text = ""
    for line in map(str.strip, lines):
        before, after = text[-1:], line[:1]
        wide = cell_len(before) > 1 and cell_len(after) > 1
        close = wide or (before and before in _PUNCTUATION) or (after and after in _PUNCTUATION)
        text += line if close or not text else f" {line}"
    return text


def _filled(text: str, width: int, lead: str, color: bool, style: str = "") -> Iterator[Line]:
    parts = _LINK.sub(r"\1", text).split("`")
    parts[::2] = (_BETWEEN_WIDE.sub("", _EMPHASIS.sub(r"\2", part)) for part in parts[::2])
    # Where colour marks code, no mark takes room.
    mark = NO_ROOM if color else "`"
    plain = mark.join(parts)
    coded = False
    for number, piece in enumerate(wrap(plain, width - len(lead))):
        line: Line = [(" " * len(lead) if number else lead, "")]
        for place, part in enumerate(piece.split(mark)):
            coded ^= place > 0
            line.append(((mark if place and not color else "") + part, "bar" if coded else style))
        yield line


def _table(lines: list[str], width: int, color: bool) -> Iterator[Line]:
    """A row as its first cell and, below, the others with the heads of their columns: no cell is cut off."""
    heads, _, *rows = ([cell.strip() for cell in _CELL.split(line.strip().strip("|"))] for line in lines)
    for number, row in enumerate(rows):
        if number:
            yield []
        yield from _filled(row[0], width, "", color, "strong")
        for head, cell in zip(heads[1:], row[1:], strict=False):
            if cell:
                lead = " " * INDENT
                yield from _filled(f"{head}: {cell}" if head else cell, width, lead, color)
