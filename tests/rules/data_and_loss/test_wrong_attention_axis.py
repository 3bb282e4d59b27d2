"""wrong-attention-axis: what is read from the program, with the sums that were measured."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import WrongAxis
from tests.rules.made import attention, chain, found, head, source


def test_sums_that_are_not_1_are_told() -> None:
    wrong = attention(wrong_axis=WrongAxis.QUERIES, lowest_sum=0.02, highest_sum=5.3, queries=5)
    flow = replace(chain([1.0] * 2), attentions=(attention(head()), wrong))
    (finding,) = found(flow, "wrong-attention-axis")
    assert "runs over its 5 queries" in finding.message
    assert (
        "over its 12 keys: the weights of a query add up to between 0.02 and 5.3, not to 1."
        in finding.message
    )
    assert finding.source == source(7)


def test_attention_over_the_keys_is_quiet() -> None:
    flow = replace(chain([1.0] * 2), attentions=(attention(head()), attention(lowest_sum=0.5)))
    assert found(flow, "wrong-attention-axis") == []


def test_a_softmax_over_the_examples_is_told_as_such() -> None:
    wrong = attention(wrong_axis=WrongAxis.EXAMPLES, lowest_sum=0.1, highest_sum=3.0)
    (finding,) = found(replace(chain([1.0] * 2), attentions=(wrong,)), "wrong-attention-axis")
    assert "runs over the examples of the batch, and the product" in finding.message
    assert "slots" not in finding.remedy
