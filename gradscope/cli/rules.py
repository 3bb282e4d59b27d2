"""`gradscope rules`: the rules, one line each."""

from __future__ import annotations

import io
import json
import sys

from gradscope.cli import screen
from gradscope.cli.options import PAGE_FORMATS, ColorMode, PageFormat, check_format, examples
from gradscope.cli.screen import Color
from gradscope.language import heading, pages
from gradscope.records import Severity
from gradscope.report.shared.base import Line, View
from gradscope.report.terminal.lines import pad, paragraph, print_lines, width_of, wrap
from gradscope.rules import Rule, all_rules
from gradscope.serialization.report_json import FORMAT

EPILOG = examples("gradscope rules", "gradscope rules --format json", "gradscope rules | grep gradient")


def rules(format: PageFormat = "terminal", color: ColorMode = Color.AUTO) -> None:
    """List the rules that `check` and `verify` apply."""
    check_format(format, PAGE_FORMATS)
    if format == "json":
        entries = [described(rule) for rule in all_rules()]
        screen.emit(json.dumps({"format": FORMAT, "rules": entries}, indent=1, allow_nan=False) + "\n")
        return
    page, view = io.StringIO(), screen.view(sys.stdout, color)
    print_lines(listing(all_rules(), view), page, view.color)
    screen.emit(page.getvalue())


def described(rule: Rule) -> dict[str, object]:
    """One rule as JSON has it."""
    return {
        "name": rule.name,
        "family": rule.family,
        "severity": rule.severity.value,
        "summary": rule.summary,
        "limits": dict(rule.limits),
    }


def listing(known: tuple[Rule, ...], view: View) -> list[Line]:
    """By family: names in one column, summaries in another where the width allows it."""
    glyphs, width = view.glyphs, view.width
    names = max([0, *(width_of(rule.name) for rule in known)])
    severities = max(width_of(heading(each.value)) for each in Severity)
    left = 2 + names + 2 + severities + 2
    beside = width - left >= 30
    lines: list[Line] = []
    family = ""
    for rule in known:
        if rule.family != family:
            family = rule.family
            lines += [[]] if lines else []
            lines.append([(glyphs.text(heading(family)), "quiet")])
        summary = wrap(
            glyphs.text(pages.summary(rule.name) or rule.summary), width - left if beside else width - 4
        )
        head: Line = [(f"  {pad(rule.name, names)}  ", "strong")]
        head.append((pad(heading(rule.severity.value), severities), rule.severity.value))
        lines.append([*head, (f"  {summary.pop(0)}", "")] if beside else head)
        lines += [[(" " * (left if beside else 4) + piece, "")] for piece in summary]
    return [*lines, [], *paragraph("`gradscope explain RULE` shows the page of a rule.", view, 0, "quiet")]
