"""Where a text is cut into sentences: the same for what the program says and for what a catalogue holds."""

from __future__ import annotations

import re
from collections.abc import Iterator

_END = re.compile(r"[.!?][)\"']?(?=\s)|[`()]")
_ABBREVIATED = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|al|cf|approx|No|Fig)|\b[A-Z])\.$")


def sentences(line: str) -> Iterator[str]:
    """The sentences of one line, each with the blanks that follow it; no end within code or brackets."""
    start, quoted, open_ = 0, False, 0
    for found in _END.finditer(line):
        mark = found.group()
        if mark == "`":
            quoted = not quoted
        elif quoted:
            continue
        elif mark == "(":
            open_ += 1
        elif mark == ")":
            open_ = max(0, open_ - 1)
        elif mark.endswith(")") and open_:
            open_ -= 1
        elif not open_ and not _ABBREVIATED.search(line, start, found.end()):
            end = found.end()
            while end < len(line) and line[end].isspace():
                end += 1
            yield line[start:end]
            start = end
    if start < len(line):
        yield line[start:]
