"""Units without a gradient, on records: where they stand, and what speaks for them."""

from __future__ import annotations

import pytest

from gradscope.records import Finding, PartlyDeadWeight
from gradscope.rules import Parts, judge
from tests.rules.made import layer, measured, parameter, source
from tests.rules.training.made import trained

FLOW = measured(
    [layer("qkv", 1, parameters=("qkv",)), layer("head", 2)], [parameter("qkv"), parameter("head.w")]
)


def found(*weights: PartlyDeadWeight, flow=FLOW) -> list[Finding]:
    parts = Parts(flow=flow, training=trained(partly_dead=weights))
    return [finding for finding in judge(parts)[0] if finding.rule == "partly-dead-weights"]


@pytest.mark.parametrize(
    ("dead", "first", "last", "where"),
    [
        (32, 0, 31, " (numbers 0 to 31) "),
        (1, 5, 5, " (number 5) "),
        (2, 5, 9, "`qkv` have"),
    ],
)
def test_where_they_stand(dead, first, last, where):
    (finding,) = found(PartlyDeadWeight("qkv", "qkv", 48, dead, first, last, 4, 12))
    assert where in finding.message
    assert (finding.layer, finding.parameter, finding.severity.value) == ("qkv", "qkv", "warning")
    assert "on 4 batches, before and after 20 steps, and on 12 draws of all weights" in finding.message


def test_without_any_it_is_quiet():
    assert found() == []
    one = PartlyDeadWeight("qkv", "qkv", 48, 32, 0, 31, 1, 12)
    assert "on 1 batch, " in found(one)[0].message


def test_units_that_a_constant_mask_divides_are_a_note():
    (finding,) = found(PartlyDeadWeight("qkv", "qkv", 48, 24, 0, 46, 1, 12, masked=True))
    assert finding.severity.value == "note"
    assert "its zeros are at these, or at the others" in finding.message


def test_blocks_of_one_line_are_one_finding():
    line = source(25)
    names = [f"blocks[{i}]" for i in range(5)]
    flow = measured(
        [layer(name, i, source=line) for i, name in enumerate(names)], [parameter(f"{n}.w") for n in names]
    )
    dead = (PartlyDeadWeight(name, f"{name}.w", 48, 2, 3, 9, 1, 12) for name in names)
    (finding,) = found(*dead, flow=flow)
    assert (
        "The same holds for units of `blocks[1].w`, `blocks[2].w`, `blocks[3].w` and `blo" in finding.message
    )
