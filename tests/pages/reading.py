"""What a page tells its reader to type, in the order in which it stands there."""

from __future__ import annotations

import re
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
PLACEHOLDER = re.compile(r"\b(?:[A-Z]{3,}|N|I)\b(?!/)|\.\.\.")
"""In place of what the reader puts there: `explain RULE`."""


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def lines(text: str) -> list[str]:
    """Each line that stands by itself or in a sentence, whole enough to be typed."""
    found = []
    language: str | None = None
    block: list[str] = []
    for line in text.splitlines():
        fence = re.match(r"```(\w*)", line)
        if fence and language is None:
            language, block = fence[1], []
        elif fence:
            found += _of_block(language or "", block)
            language = None
        elif language is not None:
            block.append(line)
        elif re.match(r"    (?:gradscope|pip) ", line):
            found.append(line.strip())
        else:
            found += [span for span in re.findall(r"`(gradscope [^`]+)`", line) if _is_whole(span)]
    return found


def _of_block(language: str, block: list[str]) -> list[str]:
    """The lines of a script, continued ones as one; or what stands behind the prompts of a session."""
    if language not in SHELLS:
        return [line[2:] for line in block if line.startswith("$ ")]
    if block[0].startswith("#!"):
        return ["\n".join(block)]
    script = "\n".join(block).replace("\\\n", "")
    return [line.strip() for line in script.splitlines() if line.strip() and not line.startswith("#")]


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


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
