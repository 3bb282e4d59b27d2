"""Which characters a terminal can show, and how text of a user is made harmless for it."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

_ASCII = str.maketrans(
    {
        "δ": "delta",
        "∂": "d",
        "·": "-",
        "—": "-",
        "–": "-",
        "×": "x",
        "→": "->",
        "≤": "<=",
        "≥": ">=",
        "≈": "~",
        "√": "sqrt",
        "²": "^2",
        "±": "+-",
        "‖": "|",
        "…": "...",
        "’": "'",
        "“": '"',
        "”": '"',
    }
)


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The characters of one output; `encoding` is `None` where everything of Unicode can be shown."""

    encoding: str | None
    ramp: str
    """Heights of a sparkline, lowest first."""
    eighths: str
    """Ends of a horizontal bar, thinnest first; the last is a full cell."""
    marks: dict[str, str]
    """By severity."""
    delta: str
    dot: str
    arrow: str
    ellipsis: str
    rule: str

    def text(self, raw: str) -> str:
        """`raw` as one line that shows what it holds and does nothing to the terminal."""
        shown = raw if raw.isprintable() else visible(raw)
        if self.encoding is None or shown.isascii():
            return shown
        return shown.translate(_ASCII).encode(self.encoding, "backslashreplace").decode(self.encoding)


UNICODE = Glyphs(
    encoding=None,
    ramp="▁▂▃▄▅▆▇█",
    eighths="▏▎▍▌▋▊▉█",
    marks={"error": "✗", "warning": "!", "note": "·", "healthy": "✓"},
    delta="δ",
    dot="·",
    arrow="→",
    ellipsis="…",
    rule="─",
)

ASCII = Glyphs(
    encoding="ascii",
    ramp="_.-:=+*#",
    eighths="-=######",
    marks={"error": "x", "warning": "!", "note": "-", "healthy": "+"},
    delta="delta",
    dot="-",
    arrow="->",
    ellipsis="...",
    rule="-",
)


def glyphs_for(encoding: str | None) -> Glyphs:
    """For the encoding of a stream; `None` is that of a stream of text in memory."""
    try:
        name = codecs.lookup(encoding or "utf-8").name
    except LookupError:
        return ASCII
    return UNICODE if name.startswith("utf") else ASCII


def visible(raw: str) -> str:
    """Control characters, escape sequences, bidirectional marks and lone surrogates, spelled out."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in raw
    )
