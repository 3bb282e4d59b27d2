"""one-key-attention: no row has a choice, and queries and keys have no gradient."""

from __future__ import annotations

from gradscope.records import Attention, Finding, Severity
from tests.rules.made import attention, found, head, layer, measured


def told(of: Attention, largest: float = 0.0) -> list[Finding]:
    layers = [
        layer("attention.q", 1, gradient_max=largest),
        layer("attention.k", 1, gradient_max=largest),
        layer("attention.v", 1),
    ]
    return found(measured(layers, attentions=(of,)), "one-key-attention")


NONE = head(rows=0)


def test_a_single_key_is_told_with_the_layers_that_it_silences() -> None:
    (finding,) = told(attention(NONE, keys=1))
    assert finding.severity is Severity.ERROR
    assert "has a single key, whose weight is 1" in finding.message
    assert "the gradient of `attention.q` and `attention.k` is exactly zero" in finding.message


def test_of_a_layer_that_holds_values_too_it_is_a_warning() -> None:
    (finding,) = told(attention(NONE, keys=1, query="attention.v", key="attention.v"))
    assert finding.severity is Severity.WARNING
    assert "gradient" not in finding.message


def test_a_mask_that_leaves_one_key_is_told_where_the_gradients_are_zero() -> None:
    (finding,) = told(attention(NONE, masked=True))
    assert "leaves a single one of its 12 keys to each of the 64 rows" in finding.message
    assert told(attention(NONE, masked=True), 0.1) == []


def test_rows_with_a_choice_are_quiet() -> None:
    assert told(attention(head(), masked=True)) == []
    assert told(attention(wrong_axis=None, keys=1)) == []


def test_a_context_of_one_element_has_a_remedy_of_its_own() -> None:
    (finding,) = told(attention(NONE, keys=1, queries=64))
    assert finding.remedy is not None
    assert "what its 64 queries look at" in finding.remedy
    (alone,) = told(attention(NONE, keys=1, queries=1))
    assert alone.remedy is not None
    assert "axis over which the softmax runs" in alone.remedy
