"""unscaled-attention: told where most rows are sharp."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Finding
from tests.rules.made import attention, chain, found, head, source


def told(*shares: float) -> list[Finding]:
    each = tuple(
        attention(head(rows=100, sharp=share), source=source(i), width=64, factor=1.0)
        for i, share in enumerate(shares)
    )
    return found(replace(chain([1.0] * 2), attentions=each), "unscaled-attention")


def test_the_sharpest_speaks_for_the_others() -> None:
    (finding,) = told(0.6, 0.9, 0.2)
    assert finding.source == source(1)
    assert "sums of 64 products times 1, where 1 / sqrt(64) = 0.125 keeps them near 1" in finding.message
    assert "90 % of the 100 rows looked at" in finding.message
    assert finding.message.endswith("The same holds for 1 more.")
    assert "by 0.125" in finding.remedy


def test_scores_with_the_usual_factor_and_learned_ones_are_not_told() -> None:
    for factor in (0.25, None):
        sharp = attention(head(sharp=1.0), factor=factor)
        assert found(replace(chain([1.0] * 2), attentions=(sharp,)), "unscaled-attention") == []


def test_attention_that_is_not_sharp_is_quiet() -> None:
    assert told(0.49, 0.1) == []
    assert told() == []
