"""hidden-past: where no attention of the model sees an earlier place, an error if that was tried."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Attention, Finding, Severity, Structure, TriedVariant
from gradscope.rules import Parts, judge
from tests.rules.made import attention, chain, found, head, source
from tests.rules.training.made import trained


def told(*attentions: Attention) -> list[Finding]:
    return found(replace(chain([1.0] * 2), attentions=attentions), "hidden-past")


BACKWARDS = attention(head(), forward=60, rows=64, masked=True)
CAUSAL = attention(head(), backward=60, rows=64, masked=True)


def test_a_mask_that_hides_the_past_is_noted() -> None:
    (finding,) = told(BACKWARDS, attention(head()))
    assert finding.severity is Severity.NOTE
    assert "none of the 64 rows looked at sees an earlier place, 60 see later ones." in finding.message


def test_it_says_where_the_mask_is_made_and_why_nothing_was_tried() -> None:
    (finding,) = told(BACKWARDS)
    assert finding.source == BACKWARDS.weighed
    assert "was not tried: no short training was run." in finding.message
    flow = replace(
        chain([1.0] * 2),
        attentions=(replace(BACKWARDS, mask=source(3)),),
        structure=Structure(not_mirrored="the mask is no array"),
    )
    (finding,), _ = judge(Parts(flow, training=trained()), select=("hidden-past",))
    assert finding.source == source(3)
    assert "was not tried: the mask is no array." in finding.message


def test_a_model_that_reads_both_ways_or_from_left_to_right_is_quiet() -> None:
    assert told(BACKWARDS, CAUSAL) == []
    assert told(CAUSAL) == []
    assert told(attention(head(), forward=40, backward=40, masked=True)) == []
    assert told(attention(head())) == []


def test_a_mask_that_trains_better_turned_over_is_an_error() -> None:
    tried = TriedVariant(100, start_without=3.0, end_without=1.9, start=2.9, end=0.01)
    for mirrored, severity in ((tried, Severity.ERROR), (replace(tried, end=1.8), Severity.NOTE)):
        flow = replace(chain([1.0] * 2), attentions=(BACKWARDS,), structure=Structure(mirrored=mirrored))
        (finding,), _ = judge(Parts(flow, training=trained()), select=("hidden-past",))
        assert finding.severity is severity
        assert "With the mask turned over, 100 steps of your optimizer" in finding.message
