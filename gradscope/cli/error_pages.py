"""Pages of the documentation that `gradscope explain` shows without a network: the sections of docs/errors.md
by their slugs, those of docs/symptoms.md by what one sees, and how to read the table."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from gradscope.language import pages, spoken

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE, PACKAGE.parent / "docs")
"""In an installed wheel, and in a checkout."""
TABLE = "table"
HEADING = "### "
LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")


def sections() -> dict[str, str]:
    """The text below each heading of an error, by its slug; links keep the form that they have on the page.

    Empty where the installation was repackaged without the page.
    """
    return _sections("errors.md", spoken())


def symptoms() -> dict[str, str]:
    """The text below each symptom, without its links; empty as `sections` may be."""
    return {name: LINK.sub(r"\1", text) for name, text in _sections("symptoms.md", spoken()).items()}


def symptoms_like(words: str) -> dict[str, str]:
    """Those that have most of the words, in their name before their text; none where no word is in any."""
    given = words.casefold().split()
    asked = [word for word in given if len(word) > 2] or given

    def score(name: str, text: str) -> int:
        title, body = name.casefold(), text.casefold()
        return sum(10 * (word in title) + (word in body) for word in asked)

    scores = {name: score(name, text) for name, text in symptoms().items()}
    best = max(scores.values(), default=0)
    return {name: text for name, text in symptoms().items() if best and scores[name] == best}


def table() -> str:
    """The page on the table of layers, without its title; empty as `sections` may be."""
    return _page("reading-a-report.md").partition("\n")[2].strip()


@cache
def _sections(name: str, language: str) -> dict[str, str]:
    return sections_of(_page(name))


def _page(name: str) -> str:
    """In the spoken language, or in English."""
    if translated := pages.page(name):
        return translated
    found = next((place / name for place in PLACES if (place / name).is_file()), None)
    return "" if found is None else found.read_text(encoding="utf-8")


def sections_of(page: str) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    body: list[str] | None = None
    for line in page.splitlines():
        if line.startswith(HEADING):
            body = found.setdefault(line.removeprefix(HEADING).strip(), [])
        elif line.startswith("#"):
            body = None
        elif body is not None:
            body.append(line)
    return {slug: "\n".join(lines).strip("\n") for slug, lines in found.items()}
