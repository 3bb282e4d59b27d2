"""A unified diff as SARIF has it: lines that go, and the text that comes in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from gradscope.records import Finding, Remedies
from gradscope.report.shared.glyphs import visible


@dataclass
class Hunk:
    """Lines that stand next to each other in the file before the edit."""

    first: int
    removed: int
    inserted: list[str]


def fixes(finding: Finding, remedies: Remedies | None, uri: Callable[[str], str]) -> list[dict[str, Any]]:
    """Of remedies whose edits were run, and after which `check` does not find this any more; none whose text
    could act on who shows it."""
    tried = remedies.tried if remedies is not None else ()
    return [
        {
            "description": {"text": f"{visible(each.what)} (tried)"},
            "artifactChanges": [
                {
                    "artifactLocation": {"uri": uri(path_of(each.diff))},
                    "replacements": [_replacement(hunk) for hunk in hunks(each.diff)],
                }
            ],
        }
        for each in tried
        if each.helps and finding.rule in each.cured and _harmless(each.diff)
    ]


def _harmless(diff: str) -> bool:
    shown = (line.removesuffix("\r").replace("\t", " ") for line in diff.split("\n"))
    return all(visible(line) == line for line in shown)


def path_of(diff: str) -> str:
    return diff.split("\n")[0].removeprefix("--- a/").removesuffix("\t")


def hunks(diff: str) -> Iterator[Hunk]:
    found: Hunk | None = None
    line = 0
    for text in diff.split("\n")[2:]:
        mark, rest = text[:1], text[1:]
        if mark == "@":
            line = int(text.split()[1].lstrip("-").partition(",")[0])
        if mark in ("@", " "):
            if found is not None:
                yield found
            found = None
        if mark in ("-", "+"):
            found = found or Hunk(line, 0, [])
            if mark == "-":
                found.removed += 1
            else:
                found.inserted.append(rest)
        line += mark in ("-", " ")
    if found is not None:
        yield found


def _replacement(hunk: Hunk) -> dict[str, Any]:
    """Whole lines: from the first column on, up to that of the line after."""
    region = {
        "startLine": hunk.first,
        "startColumn": 1,
        "endLine": hunk.first + hunk.removed,
        "endColumn": 1,
    }
    text = "".join(f"{line}\n" for line in hunk.inserted)
    return {"deletedRegion": region, "insertedContent": {"text": text}}
