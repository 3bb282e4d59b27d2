"""Messages as patterns: their literals, between which values stand, and where they stand in a text."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gradscope.language.words import AGREEING

VALUE = re.compile(r"(?<!\{)\{\d+\}(?!\})|\{\{\w*\}\}")
"""Of an f-string, or of a text that `format` fills, whose braces stand doubled in a catalogue."""
QUOTES = ("`", '"')
_NUMBER = re.compile(r"[\d.,e+-]+$")
_UNIT = re.compile(r" (?:[kMGTPE]?FLOP|[KMGT]i?B|B|ms|s)\b")
_LAST = re.compile(r"(?<=\S) ([a-z]+|\d[\d.,]*(?: ?%)?)$")
WORD = re.compile(r"[A-Za-zδ][A-Za-zδ'’]+")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A message: its literals, between which its values stand, and its translation in pieces."""

    literals: tuple[str, ...]
    coded: tuple[bool, ...]
    """Of each value, whether it stands between backticks or is quoted: such a one is never translated."""
    translation: tuple[str | int, ...]
    weight: int
    words: tuple[str, ...]

    @property
    def continues(self) -> bool:
        """Whether it goes on with a sentence that another message began."""
        return self.literals[0][:1] in (",", ";", ":")

    @property
    def strong(self) -> bool:
        """Whether it may be looked for inside a longer text."""
        return len(self.words) > 2


def unescaped(text: str) -> str:
    return text.replace("{{", "{").replace("}}", "}")


def pattern_of(message: str, translated: str) -> Pattern:
    literals = tuple(map(unescaped, VALUE.split(message)))
    order = {value: place for place, value in enumerate(VALUE.findall(message))}
    coded, before = [], ""
    for literal in literals[:-1]:
        before += literal
        coded.append(any(before.count(mark) % 2 for mark in QUOTES))
    said = VALUE.split(translated)
    values = [order.get(value, 0) for value in VALUE.findall(translated)]
    out: list[str | int] = [unescaped(said[0])]
    for value, literal in zip(values, said[1:], strict=True):
        out += [value, unescaped(literal)]
    words = tuple(word.lower() for literal in literals for word in WORD.findall(literal))
    return Pattern(literals, tuple(coded), tuple(out), len("".join(literals).strip()), words)


def matched(pattern: Pattern, text: str) -> list[str] | None:
    """The values of a message that is all of a text; `None` where it is another one. A first or last value
    that is empty takes the blank beside it with it."""
    found = _matched(pattern, text)
    if found is None and pattern.literals[0] == "" and pattern.literals[1][:1] == " ":
        found = _matched(pattern, f" {text}")
    if found is None and pattern.literals[-1] == "" and pattern.literals[-2][-1:] == " ":
        found = _matched(pattern, f"{text} ")
    return found


def _matched(pattern: Pattern, text: str) -> list[str] | None:
    first, last = pattern.literals[0], pattern.literals[-1]
    if not text.startswith(first):
        return None
    if len(pattern.literals) == 1:
        return [] if text == first else None
    end = len(text) - len(last)
    if end < len(first) or not text.endswith(last):
        return None
    return _values(pattern, text, len(first), end)


def found_in(pattern: Pattern, text: str) -> tuple[int, int, list[str]] | None:
    """Where a message stands in a text, between words, and its values."""
    first, last = pattern.literals[0], pattern.literals[-1]
    start = _find(text, first, 0) if first else 0
    if start < 0 or (first and not _between_words(text, start, start + len(first))):
        return None
    begin = start + len(first)
    if len(pattern.literals) == 1:
        return start, begin, []
    end = len(text)
    if last:
        place = begin
        for literal in pattern.literals[1:]:
            place = _find(text, literal, place)
            if place < 0:
                return None
            place += len(literal)
        if not _between_words(text, place - len(last), place):
            return None
        end = place - len(last)
    values = _values(pattern, text, begin, end)
    return None if values is None else (start, end + len(last), values)


def _values(pattern: Pattern, text: str, begin: int, end: int) -> list[str] | None:
    values = []
    for number, literal in enumerate(pattern.literals[1:-1], 1):
        place = _find(text, literal, begin)
        if literal == " ":
            place = _before_last(text, place, begin, _end(pattern, text, number, begin, end))
        while literal == " " and _UNIT.match(text, place) and _NUMBER.search(text[begin:place]):
            # A number and its unit are one value.
            place = _find(text, literal, place + 1)
        if place < 0 or place + len(literal) > end:
            return None
        values.append(text[begin:place])
        begin = place + len(literal)
    return [*values, text[begin:end]]


def _end(pattern: Pattern, text: str, number: int, begin: int, end: int) -> int:
    """Where the value after the literal of this number ends."""
    following = pattern.literals[number + 1]
    if number + 2 == len(pattern.literals) or not following:
        return end
    return _find(text, following, begin)


def _before_last(text: str, place: int, begin: int, end: int) -> int:
    """Where two values have a blank between them, and the second is a number, or a verb that agrees with the
    first: the blank before it, whatever blanks the first has."""
    found = _LAST.search(text[begin : max(begin, end)])
    known = found is not None and (found[1][:1].isdigit() or found[1] in AGREEING)
    return begin + found.start() if found is not None and known else place


def _find(text: str, literal: str, start: int) -> int:
    """Its first place that is not within code, unless it has a backtick itself; a full stop is none where
    a name or a number goes on after it (`m.py:3`)."""
    place = text.find(literal, start)
    while place >= 0 and (_in_code(text, literal, start, place) or _in_name(text, literal, place)):
        place = text.find(literal, place + 1)
    return place


def _in_code(text: str, literal: str, start: int, place: int) -> bool:
    if "`" in literal or not text.count("`", start, place) % 2 or "`" not in text[place:]:
        return False
    return not text.count("`", 0, start) % 2


def _in_name(text: str, literal: str, place: int) -> bool:
    after = text[place + len(literal) : place + len(literal) + 1]
    return literal[-1:] == "." and not literal[-2:-1].isalpha() and not (after == "" or after in " \n)\"'")


def _between_words(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    left = not (before.isalnum() and text[start].isalnum())
    return left and not (after.isalnum() and text[end - 1].isalnum())
