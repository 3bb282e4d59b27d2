"""empty-attention-row: rows that see nothing, at places that others see."""

from __future__ import annotations

from dataclasses import replace

from tests.rules.made import attention, chain, found, head


def test_a_row_that_sees_nothing_is_told() -> None:
    one = attention(head(), empty=8, rows=64, masked=True)
    (finding,) = found(replace(chain([1.0] * 2), attentions=(one, attention(head()))), "empty-attention-row")
    assert "hides all 12 keys from 8 of the 64 rows" in finding.message


def test_no_such_row_is_quiet() -> None:
    flow = replace(chain([1.0] * 2), attentions=(attention(head(), masked=True),))
    assert found(flow, "empty-attention-row") == []
