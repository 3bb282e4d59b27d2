"""attention-collapse: told where every head gives nearly every row to one key."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Attention, Finding, Severity
from tests.rules.made import attention, chain, found, head, layer, measured


def told(*attentions: Attention) -> list[Finding]:
    return found(replace(chain([1.0] * 2), attentions=attentions), "attention-collapse")


SHARP = head(decided=0.97, entropy=0.004, slope=0.006, largest_score=1300.0)


def test_all_heads_collapsed_are_told_by_number() -> None:
    (finding,) = told(attention(SHARP, head(decided=0.9, entropy=0.02, slope=0.02)))
    assert finding.layer == "attention.q"
    assert (
        "90 % or more of the rows of weights have hardly a second key, in each of its 2 heads."
        in finding.message
    )
    assert "mean entropy is 1.2 % of that of equal weights" in finding.message
    assert (
        "derivative of the softmax 1.3 % of what it is there. The largest score is 1300." in finding.message
    )


def test_of_all_rows_no_number_is_told() -> None:
    (finding,) = told(attention(head(decided=1.0, entropy=0.004, slope=0.006)))
    assert finding.message.startswith("All of the rows of weights have hardly a second key.")


def test_one_head_that_looks_at_several_keys_is_enough() -> None:
    assert told(attention(SHARP, head(decided=0.89))) == []
    assert told(attention(SHARP), attention()) != []


def test_queries_and_keys_without_any_gradient_make_it_an_error() -> None:
    layers = [layer("attention.q", 1, gradient_max=0.0), layer("attention.k", 1, gradient_max=0.0)]
    (finding,) = found(measured(layers, attentions=(attention(SHARP),)), "attention-collapse")
    assert finding.severity is Severity.ERROR
    assert "The gradient of queries and keys is exactly zero." in finding.message
    (finding,) = told(attention(SHARP))
    assert finding.severity is Severity.WARNING
    assert "exactly zero" not in finding.message


def test_few_rows_say_nothing() -> None:
    assert told(attention(head(rows=15, decided=1.0))) == []
    assert told(attention(head(rows=16, decided=1.0))) != []


def test_a_missing_factor_is_told_by_its_own_rule() -> None:
    assert told(attention(SHARP, factor=1.0)) == []
