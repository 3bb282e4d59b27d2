"""The pages of the rules that found something, kept in the report: a finding links to its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from gradscope.language import pages
from gradscope.records import Finding
from gradscope.report.html.markup import NOTHING, Frame, Html, details, escaped, joined, prose, tag
from gradscope.rules import all_rules

_ITEM = re.compile(r"[-*] |\d+\. ")


def anchor(rule: str, frame: Frame) -> str:
    return frame.id(f"rule-{rule}")


def known(findings: Iterable[Finding]) -> dict[str, str]:
    """The page of each rule among the findings that this gradscope has."""
    found = {rule.name: rule.page for rule in all_rules()}
    return {
        finding.rule: pages.of_rule(finding.rule) or found[finding.rule]
        for finding in findings
        if finding.rule in found
    }


def rule_pages(findings: Iterable[Finding], frame: Frame) -> Html:
    """Folded away; a browser opens what a link leads into."""
    known_pages = known(findings)
    entries = (
        details(name, tag("div", *blocks(text, frame), id=anchor(name, frame), class_="page-of-rule"))
        for name, text in known_pages.items()
    )
    return frame.section("rules", "The rules behind the findings", *entries) if known_pages else NOTHING


def blocks(text: str, frame: Frame) -> Iterator[Html]:
    """Headings, lists, indented code and paragraphs of a rule's Markdown; its links are left as text."""
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            yield from _block(lines)
            yield frame.heading(2, line.lstrip("# "))
            lines = []
        elif line.strip() or (lines and lines[0].startswith("    ")):
            if lines and lines[0].startswith("    ") and line.strip() and not line.startswith("    "):
                yield from _block(lines)
                lines = []
            lines.append(line)
        else:
            yield from _block(lines)
            lines = []
    yield from _block(lines)


def _block(lines: list[str]) -> Iterator[Html]:
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    if not lines:
        return
    if lines[0].startswith("    "):
        yield tag("pre", tag("code", joined((escaped(line[4:]) for line in lines), "\n")), tabindex=0)
    elif _ITEM.match(lines[0]):
        yield tag("ul", *(tag("li", prose(item)) for item in _items(lines)))
    else:
        yield tag("p", prose(" ".join(line.strip() for line in lines)))


def _items(lines: list[str]) -> list[str]:
    found: list[str] = []
    for line in lines:
        match = _ITEM.match(line)
        if match:
            found.append(line[match.end() :])
        else:
            found[-1] += f" {line.strip()}"
    return found
