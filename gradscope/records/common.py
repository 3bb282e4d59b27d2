"""What every record is made of: severities, source lines, gaps."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

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


@dataclass(frozen=True, slots=True)
class Source:
    """A line of the user's code; `text` is that line, stripped, or empty where it cannot be read."""

    file: str
    line: int
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines of the user's code around one that a finding names, as they were when it was found."""

    file: str
    first: int
    """The number of the first of `lines`."""
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Skipped:
    """Something that was not judged, and why: shown by every reporter."""

    what: str
    reason: str
