"""attention-collapse: told where every head gives nearly every row to one key."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Attention, Finding
from tests.rules.made import attention, chain, found, head


def told(*attentions: Attention) -> list[Finding]:
    return found(replace(chain([1.0] * 2), attentions=attentions), "attention-collapse")


SHARP = head(decided=0.97, entropy=0.004, slope=0.006, largest_score=1300.0)


def test_all_heads_collapsed_are_told_by_number() -> None:
    (finding,) = told(attention(SHARP, head(decided=0.9, entropy=0.02, slope=0.02)))
    assert finding.layer == "attention.q"
    assert "In each of its 2 heads, 90 % or more of the rows of weights have hardly" in finding.message
    assert "mean entropy is 1.2 % of that of equal weights" in finding.message
    assert (
        "derivative of the softmax 1.3 % of what it is there. The largest score is 1300." in finding.message
    )


def test_one_head_that_looks_at_several_keys_is_enough() -> None:
    assert told(attention(SHARP, head(decided=0.89))) == []
    assert told(attention(SHARP), attention()) != []


def test_few_rows_say_nothing() -> None:
    assert told(attention(head(rows=15, decided=1.0))) == []
    assert told(attention(head(rows=16, decided=1.0))) != []


def test_a_missing_factor_is_told_by_its_own_rule() -> None:
    assert told(attention(SHARP, factor=1.0)) == []
