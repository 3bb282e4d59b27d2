"""unscaled-attention: told where most rows are sharp."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Finding, UnscaledAttention
from tests.rules.made import chain, found, source


def told(*shares: float) -> list[Finding]:
    each = tuple(UnscaledAttention(source(i), 64, 1.0, share, 100) for i, share in enumerate(shares))
    return found(replace(chain([1.0] * 2), attentions=each), "unscaled-attention")


def test_the_sharpest_speaks_for_the_others() -> None:
    (finding,) = told(0.6, 0.9, 0.2)
    assert finding.source == source(1)
    assert "sums of 64 products times 1, where 1 / sqrt(64) = 0.125 keeps them near 1" in finding.message
    assert "90 % of its 100 rows" in finding.message
    assert finding.message.endswith("The same holds for 1 more.")
    assert "by 0.125" in finding.remedy


def test_attention_that_is_not_sharp_is_quiet() -> None:
    assert told(0.49, 0.1) == []
    assert told() == []
