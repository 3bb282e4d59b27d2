"""unbalanced-loss-terms: what is told of two terms that are reduced unalike."""

from __future__ import annotations

from typing import Any

from gradscope.records import Objective, Severity, TermImbalance
from tests.rules.made import found, layer, measured, source

RULE = "unbalanced-loss-terms"
ERROR, PENALTY = source(26, "error = (decoded - x) ** 2"), source(27, "kl = kl.sum(axis=1)")


def told(**fields: Any) -> list[Any]:
    defaults: dict[str, Any] = {
        "averaged": ERROR,
        "averaged_over": 1280,
        "summed": PENALTY,
        "summed_over": 4,
        "divisor": 128,
        "layers": ("code",),
    }
    objective = Objective(imbalances=(TermImbalance(**(defaults | fields)),))
    return found(measured([layer("code", 1)], objective=objective), RULE)


def test_a_loss_of_terms_that_are_reduced_alike_is_quiet() -> None:
    assert found(measured([layer("code", 1)]), RULE) == []


def test_ten_times_as_many_elements_are_a_warning_and_fewer_are_quiet() -> None:
    (finding,) = told()
    assert finding.severity is Severity.WARNING
    assert finding.evidence["ratio"] == 10
    assert told(averaged_over=1152) == []


def test_both_terms_the_layer_between_them_and_the_numbers_are_told() -> None:
    (finding,) = told()
    assert (finding.source, finding.layer) == (ERROR, "code")
    assert "averaged over 1280 elements. It is computed from the output of `code`" in finding.message
    assert "the term at model.py:27 takes" in finding.message
    assert "summed over 4 and averaged over 128" in finding.message
    assert "divided by 10 times less (limit 10)" in finding.message
    assert "ignore this" in finding.remedy


def test_terms_of_one_line_and_of_no_line_have_their_words() -> None:
    assert "the term on the same line takes" in told(summed=ERROR)[0].message
    assert "the term that is added to it takes" in told(summed=None, averaged=None)[0].message
    assert "from outputs of layers, and" in told(layers=())[0].message
    assert "summed over 512:" in told(divisor=1, summed_over=512)[0].message
