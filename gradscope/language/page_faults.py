"""What is missing or wrong in the pages of another language, by what they share with the English ones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
PAGES = PACKAGE / "language" / "ja" / "pages"
HEADINGS = (
    "## 何を調べるか",
    "## なぜ問題か",
    "## 測り方",
    "## しきい値",
    "## 例",
    "## 判定しないこと",
    "## 出典",
)
SHARED = ("errors.md", "symptoms.md", "reading-a-report.md")
"""Pages that `explain` shows, beside those of the rules."""
LEAST = 0.15
"""Of a page, in Japanese characters: below it is a copy of the English one."""
_VALUE = re.compile(r"`(\w+ = [^`]+)`")
_JAPANESE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def faults() -> Iterator[str]:
    from gradscope.rules import sources

    for rule in sources.files():
        yield from (f"rules/{rule}.md: {fault}" for fault in _of_rule(rule, sources.page(rule)))
    for name in SHARED:
        english = (PACKAGE.parent / "docs" / name).read_text(encoding="utf-8")
        yield from (f"{name}: {fault}" for fault in _of_page(name, english))
    for file in (PAGES / "rules").glob("*.md"):
        if file.stem not in sources.files():
            yield f"rules/{file.name}: there is no such rule"


def _of_rule(rule: str, english: str) -> Iterator[str]:
    file = PAGES / "rules" / f"{rule}.md"
    if not file.is_file():
        yield "missing"
        return
    text = file.read_text(encoding="utf-8")
    found = [line.strip() for line in text.splitlines() if line.startswith("## ")]
    if tuple(found) != HEADINGS:
        yield f"its headings are {found}"
    if text.lstrip().startswith(("#", "<!--")):
        yield "it begins with a title; the first line is what the rule finds"
    if missing := sorted(set(_VALUE.findall(english)) - set(_VALUE.findall(text))):
        yield f"limits or values that the English page has are missing: {missing}"
    yield from _code(english, text)
    yield from _language(text)


def _of_page(name: str, english: str) -> Iterator[str]:
    file = PAGES / name
    if not file.is_file():
        yield "missing"
        return
    text = file.read_text(encoding="utf-8")
    heads, found = (
        [line for line in page.splitlines() if line.startswith("### ")] for page in (english, text)
    )
    if name == "errors.md" and heads != found:
        yield f"other headings: {sorted(set(heads) ^ set(found))}"
    if name == "symptoms.md":
        missing = [head for head in heads if not any(f"({head[4:]})" in each for each in found)]
        yield from (f"no heading with ({head[4:]})" for head in missing)
    yield from _code(english, text)
    yield from _language(text)


def _code(english: str, text: str) -> Iterator[str]:
    """Lines of code are as many, and the same without their comments."""
    wanted, found = (
        [_bare(line) for line in page.splitlines() if line.startswith("    ")] for page in (english, text)
    )
    if [line for line in wanted if line] != [line for line in found if line]:
        other = next((pair for pair in zip(wanted, found, strict=False) if pair[0] != pair[1]), None)
        yield f"other code, first here (English, Japanese): {other or (len(wanted), len(found))}"


def _bare(line: str) -> str:
    return re.sub(r"\s+#.*", "", line).rstrip()


def _language(text: str) -> Iterator[str]:
    if len(_JAPANESE.findall(text)) < LEAST * len(text):
        yield "hardly any Japanese"
