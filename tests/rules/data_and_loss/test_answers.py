"""Labels of mostly one class and outputs that are the same for all rows, on records: at the limits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import ConstantOutput, Finding, LabelShare, ShortTraining
from gradscope.rules import Parts, judge
from tests.rules.made import layer, measured, parameter
from tests.rules.training.made import trained

FLOW = measured([layer("body", 1), layer("head", 2)], [parameter("body.w"), parameter("head.w")])
LABELS = LabelShare("y", 2, 64, 2, 0.0, 0.9, 0.325)
OUTPUT = ConstantOutput("head", 64, 1e-3, 1e-3, 0.01, 1.0)


def found(rule: str, training: ShortTraining) -> list[Finding]:
    findings = judge(Parts(flow=FLOW, training=training))[0]
    return [finding for finding in findings if finding.rule == rule]


@pytest.mark.parametrize(
    ("fields", "told"), [({}, 1), ({"share": 0.899}, 0), ({"rows": 63}, 0), ({"classes": 1, "share": 1.0}, 0)]
)
def test_labels_of_mostly_one_class(fields, told):
    findings = found("imbalanced-labels", trained(shares=(replace(LABELS, **fields),)))
    assert len(findings) == told
    if told:
        assert findings[0].message == (
            "90 % of the 64 labels `y` of 2 batches are 0: to answer that always is right as often, and the "
            "frequencies alone give a cross-entropy of 0.325."
        )


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, 1),
        ({"before": 1.1e-3}, 0),
        ({"after": 1.1e-3}, 0),
        ({"before": 1e-5, "after": 1e-4}, 1),
        ({"before": 1e-5, "after": 1.1e-4}, 0),  # it comes alive
        ({"deviation": 0.011}, 0),
        ({"deviation": 10.0, "asked": 1000.0}, 1),
    ],
)
def test_one_output_for_all_rows(fields, told):
    findings = found("constant-output", trained(outputs=(replace(OUTPUT, **fields),), shares=(LABELS,)))
    assert len(findings) == told
    if told:
        assert (findings[0].layer, findings[0].severity.value) == ("head", "warning")
        assert "the frequencies of the labels alone give a cross-entropy of 0.325" in findings[0].message


def test_without_one_array_of_labels_no_best_answer_is_named():
    (finding,) = found("constant-output", trained(outputs=(OUTPUT,), shares=(LABELS, LABELS)))
    assert "cross-entropy" not in finding.message
