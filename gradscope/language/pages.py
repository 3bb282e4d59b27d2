"""Pages of the documentation in other languages: those of the rules, of errors, by symptom, on the table.

They stand beside the catalogues, so that an installed wheel has them: `<language>/pages/rules/<rule>.md`.
"""

from __future__ import annotations

from pathlib import Path

from gradscope.language import ENGLISH, spoken

FOLDER = Path(__file__).parent


def page(name: str) -> str | None:
    """A page in the spoken language, as `rules/dead-units.md`; `None` in English and where there is none."""
    if spoken() == ENGLISH:
        return None
    file = FOLDER / spoken() / "pages" / name
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def of_rule(name: str) -> str | None:
    return page(f"rules/{name}.md")


def summary(name: str) -> str | None:
    """The first paragraph of a rule's page on one line."""
    text = of_rule(name)
    return None if text is None else " ".join(text.partition("\n\n")[0].split())
