"""What every record is made of: severities, source lines, gaps."""

from __future__ import annotations

from enum import StrEnum

from gradscope.records.record import record

Number = float | int | str


class Severity(StrEnum):
    """How grave a finding is."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the gravest: findings are sorted by it."""
        return list(Severity).index(self)


@record
class Source:
    """A line of the user's code; `text` is that line, stripped, or empty where it cannot be read."""

    file: str
    line: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@record
class Excerpt:
    """Lines of the user's code around one that a finding names, as they were when it was found."""

    file: str
    first: int
    """The number of the first of `lines`."""
    lines: tuple[str, ...]


@record
class Skipped:
    """Something that was not judged, and why: shown by every reporter."""

    what: str
    reason: str
