"""`gradscope skill`: how a program that edits code uses gradscope."""

from __future__ import annotations

from pathlib import Path

from gradscope.cli import screen
from gradscope.cli.options import examples

EPILOG = examples("gradscope skill", "gradscope skill > SKILL.md", "gradscope skill | less")
PAGE = Path(__file__).parents[1] / "templates" / "SKILL.md"


def skill() -> None:
    """Print how a coding agent uses gradscope: the file it needs, the loop, the commands by symptom."""
    screen.emit(PAGE.read_text(encoding="utf-8"))
