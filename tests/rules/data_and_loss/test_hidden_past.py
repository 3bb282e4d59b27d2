"""hidden-past: a note where no attention of the model sees an earlier place."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Attention, Finding, Severity
from tests.rules.made import attention, chain, found, head


def told(*attentions: Attention) -> list[Finding]:
    return found(replace(chain([1.0] * 2), attentions=attentions), "hidden-past")


BACKWARDS = attention(head(), forward=60, rows=64, masked=True)
CAUSAL = attention(head(), backward=60, rows=64, masked=True)


def test_a_mask_that_hides_the_past_is_noted() -> None:
    (finding,) = told(BACKWARDS, attention(head()))
    assert finding.severity is Severity.NOTE
    assert "none of the 64 rows looked at sees an earlier place, 60 see later ones." in finding.message


def test_a_model_that_reads_both_ways_or_from_left_to_right_is_quiet() -> None:
    assert told(BACKWARDS, CAUSAL) == []
    assert told(CAUSAL) == []
    assert told(attention(head(), forward=40, backward=40, masked=True)) == []
    assert told(attention(head())) == []
