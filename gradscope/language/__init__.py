"""The language in which the program speaks to people: English, or a translation of what it says in English.

Whatever is measured, judged, saved or read by machines is English. What is written for people passes through
`translate` on its way out, and comes back as it is where no other language was chosen.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

ENGLISH = "en"
LANGUAGES = (ENGLISH, "ja")
VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")
"""The first that is set counts, as for all programs that follow POSIX."""

_spoken = ENGLISH


def spoken() -> str:
    return _spoken


def speak(language: str) -> None:
    """Choose for the whole process: a name of `LANGUAGES`."""
    global _spoken
    _spoken = language


@contextmanager
def speaking(language: str) -> Iterator[None]:
    before = _spoken
    speak(language)
    try:
        yield
    finally:
        speak(before)


def of_environment(variables: Mapping[str, str] = os.environ) -> str:
    """The language of the terminal, if it is one of `LANGUAGES`; else English."""
    value = next((found for name in VARIABLES if (found := variables.get(name))), "")
    name = value.partition(".")[0].partition("_")[0].lower()
    return name if name in LANGUAGES else ENGLISH


def translate(text: str) -> str:
    """A finished English text in the spoken language; what is in no catalogue stays English."""
    if _spoken == ENGLISH:
        return text
    from gradscope.language.matching import translator  # only here: English needs nothing of it

    return translator(_spoken).translate(text)


def phrase(text: str) -> str:
    """A name, or words of ours in the place of one (`outside of layers`): only these are translated."""
    if _spoken == ENGLISH or " " not in text:
        return text
    from gradscope.language.matching import translator

    return translator(_spoken).exact.get(text, text)


def whole_line(line: str) -> str:
    """A line that is all ours: of one that a user or a library wrote no part is translated."""
    words = " ".join(line.split())
    said = phrase(words)
    return line if said == words else line[: len(line) - len(line.lstrip())] + said


def between() -> str:
    """What stands between a finding and its place."""
    return " in " if _spoken == ENGLISH else ": "


def heading(text: str) -> str:
    """A title, the head of a column or a cell: as `translate`, and single words as well."""
    if _spoken == ENGLISH:
        return text
    from gradscope.language.matching import translator

    return translator(_spoken).heading(text)
