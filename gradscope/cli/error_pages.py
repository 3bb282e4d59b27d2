"""The sections of docs/errors.md by their slugs: `gradscope explain SLUG` shows one without a network."""

from __future__ import annotations

from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PLACES = (PACKAGE / "errors.md", PACKAGE.parent / "docs" / "errors.md")
"""In an installed wheel, and in a checkout."""
HEADING = "### "


@cache
def sections() -> dict[str, str]:
    """The text below each heading of an error, by its slug; links keep the form that they have on the page.

    Empty where the installation was repackaged without the page.
    """
    page = next((place for place in PLACES if place.is_file()), None)
    return {} if page is None else sections_of(page.read_text(encoding="utf-8"))


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
    return {slug: "\n".join(lines).strip() for slug, lines in found.items()}
