"""What a page tells its reader to type, and the code it shows, in the order in which they stand there."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gradscope.cli.commands import COMMANDS, loaded

ROOT = Path(__file__).parents[2]
JAPANESE = ROOT / "gradscope/language/ja/pages"
PAGES = [
    *(ROOT / name for name in ("README.md", "README.ja.md", "sample_models/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs/llms.txt",
    *sorted((ROOT / "docs/ja").glob("*.md")),
    *sorted((ROOT / "docs/rules").glob("*.md")),
    ROOT / "gradscope/templates/SKILL.md",
    *sorted(JAPANESE.rglob("*.md")),
]
SHELLS = ("sh", "bash")
INDENTED, PROSE = "indented", "prose"
TYPED = re.compile(r"(?:gradscope|pip|python3) ")
PLACEHOLDER = re.compile(r"\b(?:[A-Z]{3,}|N|I)\b(?!/)|\.\.\.")
"""In place of what the reader puts there: `explain RULE`."""


@dataclass(frozen=True)
class Part:
    """A fenced block (its kind is the language, or empty), an indented one, or one line of prose."""

    kind: str
    text: str
    section: str
    """The heading of the second level above it."""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def parts(text: str) -> Iterator[Part]:
    """Of a page, from its top to its bottom. An indented block goes on over an empty line within it."""
    section = ""
    fences = r"^```(?P<kind>.*)\n(?P<inside>(?:.*\n)*?)```$"
    for found in re.finditer(rf"{fences}|^(?P<indented>    .*(?:\n+    .*)*)|^.*$", text, re.MULTILINE):
        if found["kind"] is not None:
            yield Part(found["kind"], found["inside"], section)
        elif found["indented"] is not None:
            yield Part(INDENTED, textwrap.dedent(found["indented"]), section)
        else:
            section = found[0][3:] if found[0].startswith("## ") else section
            yield Part(PROSE, found[0], section)


def commands(text: str) -> Iterator[tuple[str, bool]]:
    """Each line of a shell on a page, and whether it stands by itself; else a sentence mentions it."""
    for part in parts(text):
        if part.kind == PROSE:
            yield from ((span, False) for span in re.findall(r"`(gradscope [^`]+)`", part.text))
        else:
            yield from ((line, True) for line in _of_block(part))


def _of_block(part: Part) -> list[str]:
    """The lines of a script, continued ones as one; or what stands behind the prompts of a session."""
    block = part.text.splitlines()
    if part.kind == INDENTED:
        return [line for line in block if TYPED.match(line)]
    if part.kind not in SHELLS:
        return [line[2:] for line in block if line.startswith("$ ")]
    if block[0].startswith("#!"):
        return [part.text.rstrip("\n")]
    script = part.text.replace("\\\n", "")
    return [line.strip() for line in script.splitlines() if line.strip() and not line.startswith("#")]


def lines(text: str) -> list[str]:
    """Each line that stands by itself or in a sentence, whole enough to be typed."""
    return [line for line, alone in commands(text) if alone or _is_whole(line)]


def _is_whole(span: str) -> bool:
    """Not only the name of a command, and nothing left to put in."""
    if len(span.split()) < 3 or PLACEHOLDER.search(span):
        return False
    name, *words = span.split(" | ")[0].split()[1:]
    if name not in COMMANDS or (name == "check" and words[0].startswith("-")):
        return False
    try:
        loaded(name).make_context(name, words)
    except Exception:
        return False
    return True


def examples(command: str) -> list[str]:
    """Of a help page."""
    return re.findall(r"\*\*(.+?)\*\*", loaded(command).epilog)


def blocks(page: str, language: str, section: str = "") -> list[str]:
    """Fenced blocks of a page, or of one section of it."""
    found = parts((ROOT / page).read_text(encoding="utf-8"))
    return [p.text for p in found if p.kind == language and section in ("", p.section)]


def programs(text: str) -> list[Part]:
    """The Python on a page: what is fenced as such, and what is indented and no line of a shell."""
    return [
        part
        for part in parts(text)
        if part.kind == "python" or (part.kind == INDENTED and not TYPED.match(part.text))
    ]
