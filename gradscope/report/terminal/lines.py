"""Lines of styled text, wrapped and printed here; of Rich only widths and colours are used.

Rich lays out 2,000 rows of twelve cells in 1.8 s, these lines take 0.05 s, and a process that shows a saved
report starts without `rich.console`. Nothing is read as markup on the way: a layer may be named `[bold]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, TextIO

from rich.cells import cell_len, chop_cells
from rich.style import Style

from gradscope.language import heading, translate
from gradscope.report.shared.base import Line, Span, View

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {
    "error": "bold red",
    "warning": "bold yellow",
    "note": "bold blue",
    "healthy": "bold green",
    "strong": "bold",
    "quiet": "dim",
    "bad": "red",
    "bar": "cyan",
    "remedy": "green",
}


LONGEST_LINE = 110
"""Prose is hard to read across a wide terminal."""
TITLE = "strong"
"""The style of a paragraph in which a single word is one of ours."""


def print_lines(lines: Iterable[Line], out: TextIO, color: bool) -> None:
    """In the sixteen colours that every theme of a terminal defines, or in none."""
    for line in lines:
        spans = _without_trailing_blanks(line)
        out.write("".join(_style(style).render(text) if color and style else text for text, style in spans))
        out.write("\n")


def styled(line: Line) -> Text:
    """The same line for Rich, which draws what is wiped again."""
    from rich.text import Text

    return Text.assemble(*((text, STYLES.get(style, "")) for text, style in line), no_wrap=True)


def _without_trailing_blanks(line: Line) -> Line:
    spans = list(line)
    while spans and not spans[-1][0].strip():
        spans.pop()
    return [*spans[:-1], (spans[-1][0].rstrip(), spans[-1][1])] if spans else []


@cache
def _style(name: str) -> Style:
    return Style.parse(STYLES[name])


def width_of(text: str) -> int:
    """Cells of a terminal: a Chinese character takes two."""
    return cell_len(text)


def pad(text: str, width: int, right: bool = False) -> str:
    blank = " " * max(0, width - cell_len(text))
    return blank + text if right else text + blank


def wrap(text: str, width: int) -> list[str]:
    """Break between words, and between the characters of a script that has no blanks; a word that is too long
    for a line is folded, never cut off."""
    lines: list[str] = []
    for word in text.split():
        gap = " "
        for part in [word] if word.isascii() else breakable(word):
            if lines and cell_len(lines[-1]) + len(gap) + cell_len(part) <= width:
                lines[-1] += gap + part
            elif cell_len(part) <= width:
                lines.append(part)
            else:
                lines += fold(part, width)
            gap = ""
    return lines or [""]


_WIDE = r"[\u3040-\u30ff\u3400-\u9fff\uff66-\uff9d]"
_PIECE = re.compile(
    rf"[「『（(\[]*(?:{_WIDE}[ーぁぃぅぇぉっゃゅょァィゥェォッャュョ]*|(?:(?!{_WIDE}|[「『（、。」』）]).)+)[、。」』）)\]:：]*"
)
"""What stands together at the end of a line: no mark that closes may begin one, nor a small kana."""


def breakable(word: str) -> list[str]:
    """The pieces between which a line may end."""
    return _PIECE.findall(word) if re.search(_WIDE, word) else [word]


def fold(name: str, width: int) -> list[str]:
    """Break a name after a dot, slash, bracket or underscore where that leaves no short first piece."""
    width = max(1, width)
    pieces: list[str] = []
    while cell_len(name) > width:
        head = chop_cells(name, width)[0] or name[0]
        breaks = [m.end() for m in re.finditer(r"[./_\-\])]", head)]
        at = breaks[-1] if breaks and breaks[-1] * 2 > len(head) else len(head)
        pieces.append(name[:at])
        name = name[at:]
    return [*pieces, name]


def crop(text: str, width: int, ellipsis: str) -> str:
    """Only for lines of source code, which can be looked up: names are folded instead."""
    if cell_len(text) <= width:
        return text
    room = max(1, width - cell_len(ellipsis))
    return chop_cells(text, room)[0] + ellipsis


def sentences(texts: Iterable[str], view: View, style: str = "") -> list[Line]:
    """Each a paragraph of its own."""
    return [line for text in texts for line in paragraph(text, view.at_most(LONGEST_LINE), 0, style)]


def paragraph(
    text: str, view: View, indent: int = 0, style: str = "", lead: Span | None = None
) -> list[Line]:
    """Wrapped text under an indent, in the view's characters; `lead` stands before the first line and pushes
    the others in."""
    if lead:
        lead = (heading(lead[0]), lead[1])
    hang = cell_len(lead[0]) if lead else 0
    room = max(12, view.width - indent - hang)
    said = heading(text) if style == TITLE else translate(text)
    pieces = wrap(view.glyphs.text(said), room)
    lines: list[Line] = [[(" " * (indent + hang), ""), (piece, style)] for piece in pieces]
    if lead:
        lines[0][0:1] = [(" " * indent, ""), lead]
    return lines
