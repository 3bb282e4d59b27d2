"""The lines of the user's code around those that findings name, kept for reports that are read elsewhere."""

from __future__ import annotations

import linecache
from collections.abc import Iterable

from gradscope.records import Excerpt, Finding, Source

AROUND = 2
"""Lines before and after."""


def excerpts(findings: Iterable[Finding]) -> tuple[Excerpt, ...]:
    """One for each line that a finding names; none where the file cannot be read or has changed since."""
    places = dict.fromkeys(finding.source for finding in findings if finding.source is not None)
    return tuple(found for found in map(_excerpt, places) if found is not None)


def _excerpt(place: Source) -> Excerpt | None:
    lines = linecache.getlines(place.file)
    index = place.line - 1
    if not (place.text and 0 <= index < len(lines) and lines[index].strip() == place.text):
        return None
    first = max(0, index - AROUND)
    around = lines[first : index + AROUND + 1]
    return Excerpt(place.file, first + 1, tuple(line.rstrip("\n") for line in around))
