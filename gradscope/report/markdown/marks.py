"""GitHub-flavoured Markdown around what a user's model or file is named: `<script>`, `@someone` or `|`.

Names stand in code spans or with their marks escaped, so that none of them acts.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from gradscope.language import heading, translate
from gradscope.report.shared.glyphs import visible

MARKS = {"error": "❌", "warning": "⚠️", "note": "ℹ️", "healthy": "✅"}


def folded(title: str, lines: Sequence[str]) -> Iterator[str]:
    """A block of HTML up to the first blank line: its title is escaped as HTML is."""
    said = html.escape(visible(heading(title)))
    # Nobody is mentioned within code.
    yield f"<details><summary>{f'<code>{said}</code>' if '@' in said else said}</summary>\n"
    yield "\n".join(lines)
    yield "\n</details>\n"


def to_do(text: str) -> str:
    """Advice, after words in bold."""
    return f"**{translate('What to do')}:** {prose(text)}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rows = [[heading(cell) for cell in row] for row in rows]
    lines = [[heading(title) for title in titles], ["---"] * len(titles), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def code(value: object) -> str:
    """A code span, with more backticks around it than stand together in it."""
    text = visible(str(value))
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * (longest + 1)
    return f"{fence}{text}{fence}" if not longest else f"{fence} {text} {fence}"


def prose(text: str) -> str:
    """Words of ours with names of the user's in them: nothing in it is read as a mark or as a mention."""
    return " ".join(
        code(word) if "@" in word else re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", word)
        for word in visible(translate(text)).split()
    )
