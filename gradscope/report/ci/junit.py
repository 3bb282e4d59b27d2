"""JUnit XML: each target a suite, and a test case for each layer and each rule that judged the run.

A case keeps its name from run to run: what is mended turns green, and does not just go away. Of a run that
does not say which rules judged it (one saved by an earlier gradscope) a layer without findings is one pass.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from typing import TextIO

from gradscope.records import BaselineStatus, Outcome, Policy, Suite, Verdict
from gradscope.report.ci.places import Placed, file_of, line_of, one_line, placed, remarks_of
from gradscope.report.shared.base import View
from gradscope.report.shared.baseline import remarks
from gradscope.report.shared.glyphs import visible

WHOLE = "the run as a whole"
"""The test case of a target in which nothing has a name of its own."""


class JUnitReporter:
    def render(self, suite: Suite, out: TextIO, view: View) -> None:
        root = ET.Element("testsuites", name="gradscope")
        root.extend([_suite(outcome) for outcome in suite.outcomes])
        for key in ("tests", "failures", "errors", "skipped"):
            root.set(key, str(sum(int(each.get(key, "0")) for each in root)))
        ET.indent(root)
        # As ASCII with character references it is the same document in every encoding of a terminal.
        text = ET.tostring(root, encoding="us-ascii", xml_declaration=False).decode("ascii")
        out.write(f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')


REPORTER = JUnitReporter()


def _suite(outcome: Outcome) -> ET.Element:
    cases = [_missing(outcome)] if outcome.error is not None else _cases(outcome)
    suite = ET.Element("testsuite", name=visible(outcome.target), tests=str(len(cases)))
    for key, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(key, str(sum(case.find(tag) is not None for case in cases)))
    timing = outcome.report.timing if outcome.report else None
    if timing and timing.total_s:
        suite.set("time", f"{timing.total_s:.3f}")
    suite.extend(cases)
    if remarked := remarks_of(outcome):
        ET.SubElement(suite, "system-out").text = "\n".join(remarked)
    return suite


def _cases(outcome: Outcome) -> list[ET.Element]:
    rules = outcome.report.rules if outcome.report else ()
    names: Counter[str] = Counter()
    found = list(placed(outcome))
    cases = [_finding(each, names, outcome.policy) for each in found]
    seen = {
        (name, each.finding.rule if rules else "")
        for each in found
        for name in (each.finding.layer, each.finding.parameter, "" if not each.where else None)
    }
    for name, file, line in _places(outcome):
        for rule in rules or ("",):
            if (name, rule) not in seen:
                cases.append(_case(outcome, ": ".join(part for part in (name, rule) if part), file, line))
    return cases or [_case(outcome, WHOLE, file_of(outcome), 1)]


def _places(outcome: Outcome) -> list[tuple[str, str, int]]:
    """What a rule can be silent about: layers; without them the parameters whose gradient is right; of a
    comparison of optimizers the run itself, which has no name."""
    report, file = outcome.report, file_of(outcome)
    if report is None:
        return []
    if report.flow is not None:
        return [
            (layer.name, layer.source.file, line_of(layer.source)) if layer.source else (layer.name, file, 1)
            for layer in report.flow.layers
        ]
    if report.gradients is not None:
        right = [check for check in report.gradients.leaves if check.verdict is Verdict.RIGHT]
        return [(check.parameter, file, 1) for check in right]
    return [("", file, 1)] if report.rules else []


def _finding(each: Placed, names: Counter[str], policy: Policy) -> ET.Element:
    finding = each.finding
    name = f"{each.where}: {finding.rule}" if each.where else finding.rule
    names[name] += 1
    name += f" ({names[name]})" if names[name] > 1 else ""
    case = _case(each.outcome, name, each.source.file, line_of(each.source))
    said = one_line(finding.message)
    place = f"{visible(each.source.file)}:{line_of(each.source)}  {visible(each.source.text)}".rstrip()
    head = f"{finding.severity.value} {visible(finding.rule)}"
    text = "\n".join(
        line
        for line in (head, remarks(finding), place, said, f"What to do: {one_line(finding.remedy)}")
        if line
    )
    if policy.fails(finding):
        ET.SubElement(case, "failure", message=said, type=visible(finding.rule)).text = text
    elif finding.baseline_status is BaselineStatus.UNCHANGED:
        ET.SubElement(case, "skipped", message="in the baseline").text = text
    else:
        ET.SubElement(case, "system-out").text = text
    return case


def _missing(outcome: Outcome) -> ET.Element:
    error = outcome.error
    assert error is not None
    case = _case(outcome, WHOLE, file_of(outcome), 1)
    lines = [
        one_line(error.what, error.why),
        *map(visible, error.details.splitlines()),
        one_line(error.fix),
    ]
    said = ET.SubElement(case, "error", message=one_line(error.what), type=error.kind.value)
    said.text = "\n".join(line for line in lines if line.strip())
    return case


def _case(outcome: Outcome, name: str, file: str, line: int) -> ET.Element:
    """`visible` leaves no character that XML does not have."""
    return ET.Element(
        "testcase",
        classname=visible(outcome.target),
        name=visible(name),
        file=visible(file),
        line=str(line),
    )
