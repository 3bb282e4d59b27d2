"""All remedies that are known for a file, those first that are meant for what was found in it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from gradscope.records import Finding, Severity
from gradscope.remedies import activations, data, lines, optimizer, sizes, start
from gradscope.remedies.data import Scaled
from gradscope.remedies.source_code import Remedy, SourceCode


def known(
    codes: Sequence[SourceCode], loss: str, findings: Sequence[Finding], arrays: Sequence[Scaled]
) -> list[Remedy]:
    """Each text once; edits of the lines that findings name come first."""
    found: list[Remedy] = []
    for code in codes:
        here = [each for each in findings if each.source is None or _same(each.source.file, code.path)]
        found += lines.edits(code, here)
    for code in codes:
        found += data.edits(code, loss, arrays)
        found += optimizer.edits(code)
        found += start.edits(code)
        found += activations.edits(code)
        found += sizes.edits(code)
    before = {code.path: code.text for code in codes}
    unlike = {(each.path, each.text): each for each in reversed(found) if each.text != before[each.path]}
    return [each for each in found if unlike.get((each.path, each.text)) is each]


def _same(one: str, other: str) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def meant(remedies: Sequence[Remedy], findings: Sequence[Finding]) -> tuple[list[Remedy], list[Remedy]]:
    """Those for errors and warnings that are there, and the rest."""
    rules = {found.rule for found in findings if found.severity is not Severity.NOTE}
    first = [each for each in remedies if rules.intersection(each.rules)]
    return first, [each for each in remedies if each not in first]
