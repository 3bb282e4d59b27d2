"""Parts of a text: words and code, clauses, the marks at its end, the blanks that a translation has not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from gradscope.language.patterns import WORD

CODE = re.compile(r"(`[^`]*`)")
_WIDE = r"\u3000-\u30ff\u3400-\u9fff\uff01-\uff60"
_TIDY = (
    (re.compile(r"(?<=\S)  +(?=\S)"), " "),
    (re.compile(rf"(?<=[{_WIDE})])\.(?=\s|$)"), "。"),
    (re.compile(rf"(?<=[{_WIDE}]), |(?<=\w), (?=[{_WIDE}])"), "、"),
    (re.compile(r"(?<=[、。「『（]) +| +(?=[、。」』）])"), ""),
    (re.compile(r"[.。]+。|。\."), "。"),
    # Where a value is nothing in this language.
    (re.compile(rf"(?<=\() +(?=\S)|(?<=\S) +(?=\))|(?<=[{_WIDE}]) +(?=[:;] )"), ""),
    (re.compile(rf"(?<=[{_WIDE}]) +(?=[{_WIDE}])"), ""),
)


def several(text: str) -> bool:
    """Whether there is more in it than one word, which may be a name."""
    return " " in text and WORD.search(text) is not None


def prose(text: str) -> int:
    """How many of its letters stand in words, and in no code or name."""
    bare = CODE.sub(" ", text)
    return sum(len(word) for word in re.findall(r"(?<![\w./:\[\-])[A-Za-z][a-z'’]+(?![\w/\[(=-])", bare))


ENDS = {".": "。", ":": ":", ",": "、", ";": ";"}


def forms(text: str) -> Iterator[tuple[str, Callable[[str], str]]]:
    """A text as it is, without its last mark, and with its first letter the other way; and for each what
    makes a translation of it one of the text."""
    ending = ENDS.get(text[-1:], "")
    bare = text[:-1] if ending else text

    def mended(said: str) -> str:
        return said.removesuffix("。") + ending

    yield text, str
    if ending:
        yield bare, mended
    if bare[:1].isalpha() and bare[1:2].islower():
        turned = bare[0].swapcase() + bare[1:]
        yield turned, mended
        yield turned + ".", mended
    yield bare + ".", mended


def split_at(text: str, joint: str) -> list[str]:
    """At a joint that is in no brackets and no code."""
    parts, start, open_, quoted = [], 0, 0, False
    place = 0
    while place < len(text):
        char = text[place]
        quoted ^= char == "`"
        open_ += (char in "([") - (char in ")]") if not quoted else 0
        if not quoted and open_ <= 0 and text.startswith(joint, place) and start < place:
            parts.append(text[start:place])
            place += len(joint)
            start = place
            continue
        place += 1
    return [*parts, text[start:]]


def tidied(text: str) -> str:
    parts = CODE.split(text)
    for place in range(0, len(parts), 2):
        parts[place] = re.sub("^  +" if place else "(?!)", " ", parts[place])
        parts[place] = re.sub("  +$" if place + 1 < len(parts) else "(?!)", " ", parts[place])
        for pattern, put in _TIDY:
            parts[place] = pattern.sub(put, parts[place])
    return "".join(parts).replace("。 ", "。") if "。" in text else "".join(parts)
