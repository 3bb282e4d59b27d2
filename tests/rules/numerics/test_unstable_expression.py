"""unstable-expression: what is told from afar, what only when it is near, and how near."""

from __future__ import annotations

import math

import pytest

from gradscope.records import Hazard, HazardForm, Severity
from gradscope.rules.numerics.hazard_texts import WORDS
from tests.rules.made import found, judge, layer, measured, parameter, source

RULE = "unstable-expression"
TINY, EXP = 2.0**-126, 88.7
STRUCTURAL = sorted(kind for kind, words in WORDS.items() if words.structural)


def hazard(kind="log-near-zero", nearest=0.1, **fields):
    defaults = {
        "op": "log",
        "source": source(7, "return jnp.log(p)"),
        "layer": "layers[0]",
        "danger": 0.0,
        "distance": nearest,
        "smallest": TINY,
        "rounding": 0.0,
        "on_it": 0,
        "dtype": "float32",
    }
    return Hazard(kind, nearest=nearest, **(defaults | fields))


def exponent(kind="large-exponent", nearest=1.0, **fields):
    return hazard(kind, nearest, danger=EXP, distance=EXP - nearest, smallest=0.0, op="exp", **fields)


def of(*hazards):
    return measured([layer("layers[0]", 1)], [parameter("layers[0].w")], hazards=hazards)


def severities(*hazards):
    return [finding.severity for finding in found(of(*hazards), RULE)]


def test_a_network_without_hazards_is_quiet():
    assert found(of(), RULE) == []


@pytest.mark.parametrize("kind", sorted(set(WORDS) - set(STRUCTURAL)))
def test_an_operand_that_is_far_away_is_no_finding(kind):
    assert severities(hazard(kind), exponent(kind)) == []


@pytest.mark.parametrize("kind", STRUCTURAL)
def test_an_expression_with_a_safe_spelling_is_a_note_from_afar(kind):
    assert severities(hazard(kind)) == [Severity.NOTE]


@pytest.mark.parametrize("kind", STRUCTURAL)
def test_it_is_a_warning_once_its_operand_is_half_way(kind):
    assert severities(hazard(kind, TINY**0.49)) == [Severity.NOTE]
    assert severities(hazard(kind, TINY**0.51)) == [Severity.WARNING]


def test_any_other_is_a_note_half_way_and_a_warning_when_close():
    assert severities(exponent(nearest=0.49 * EXP)) == []
    assert severities(exponent(nearest=0.51 * EXP)) == [Severity.NOTE]
    assert severities(exponent(nearest=0.89 * EXP)) == [Severity.NOTE]
    assert severities(exponent(nearest=0.91 * EXP)) == [Severity.WARNING]
    assert severities(hazard(nearest=TINY**0.51)) == [Severity.NOTE]
    assert severities(hazard(nearest=TINY**0.91)) == [Severity.WARNING]


def test_a_sum_of_terms_within_its_rounding_is_a_warning():
    assert severities(hazard("root-near-zero", 2e-12, rounding=1e-12)) == []
    assert severities(hazard("root-near-zero", 0.9e-12, rounding=1e-12)) == [Severity.WARNING]


def test_elements_that_are_masked_on_the_point_itself_are_no_reason_to_tell():
    assert severities(hazard(on_it=3)) == []
    assert severities(hazard(nearest=0.0, distance=math.inf, on_it=3)) == []


def test_elements_of_a_softmax_that_have_underflowed_are():
    (finding,) = found(of(hazard("log-of-softmax", on_it=3)), RULE)
    assert finding.severity is Severity.WARNING
    assert "3 elements are at that point already, and are masked in this run." in finding.message


def test_one_line_is_one_finding_its_worst():
    near = exponent("softmax-by-hand", 80.0)
    (finding,) = found(of(hazard("log-of-softmax"), near, hazard("log-of-sigmoid")), RULE)
    assert finding.evidence["kind"] == "softmax-by-hand"
    assert finding.evidence["at_this_line"] == 3


def test_two_lines_are_two_findings():
    other = hazard("log-of-softmax", source=source(9))
    assert [f.source.line for f in found(of(hazard("log-of-softmax"), other), RULE)] == [7, 9]


def test_what_no_line_of_the_users_wrote_is_not_told():
    assert severities(hazard("log-of-softmax", source=None)) == []


def test_the_message_has_the_number_the_limit_and_the_remedy():
    (finding,) = found(of(hazard("log-of-softmax", 0.000116)), RULE)
    assert finding.message.startswith(
        "The log of a softmax: its smallest probability is 0.000116, 10% of the way, in powers of ten, "
        "to 1.18e-38, the smallest normal float32."
    )
    assert "log_softmax" in finding.remedy
    assert finding.evidence["reached"] == pytest.approx(math.log(0.000116) / math.log(TINY))
    assert (finding.layer, finding.source) == ("layers[0]", source(7, "return jnp.log(p)"))


def test_an_exponent_is_told_beside_the_one_that_overflows():
    (finding,) = found(of(exponent("softmax-by-hand", 50.0)), RULE)
    assert "the largest exponent is 50, and float32 overflows at 88.7" in finding.message


def test_an_operand_near_one_keeps_its_digits():
    near = hazard("arccos-near-one", 1 - 2e-7, danger=1.0, distance=2e-7, smallest=2.0**-24)
    (finding,) = found(of(near), RULE)
    assert "0.9999998, 2e-07 from the end" in finding.message


def test_a_run_that_is_not_finite_is_told_by_its_own_rule_alone():
    sick = measured(
        [layer("layers[0]", 1)],
        [parameter("layers[0].w", gradient_max=math.nan)],
        loss=math.nan,
        hazards=(hazard("log-of-softmax"),),
    )
    findings, _ = judge(sick)
    assert [finding.rule for finding in findings] == ["non-finite"]


def test_a_kind_of_a_later_gradscope_is_told_in_general_words():
    (finding,) = found(of(hazard("something-new", TINY**0.7)), RULE)
    assert "is not finite everywhere" in finding.message


@pytest.mark.parametrize(
    ("kind", "form", "said", "remedy"),
    [
        ("log-of-softmax", "whole", "The log of a softmax", "optax.softmax_cross_entropy(logits, labels)"),
        ("log-of-softmax", "gathered", "looked up in a softmax", "with_integer_labels(logits, labels)"),
        ("log-of-softmax", "complement", "The log of 1 - softmax", "jax.nn.logsumexp(others, axis=-1)"),
        ("log-of-sigmoid", "whole", "The log of a sigmoid:", "`jax.nn.log_sigmoid(x)`"),
        ("log-of-sigmoid", "complement", "The log of 1 - sigmoid", "`jax.nn.log_sigmoid(-x)`"),
    ],
)
def test_each_form_has_its_own_spelling(kind, form, said, remedy):
    (finding,) = found(of(hazard(kind, form=HazardForm(form))), RULE)
    assert said in finding.message
    assert remedy in finding.remedy


def test_both_labels_on_one_line_are_one_cross_entropy():
    pair = hazard("log-of-sigmoid"), hazard("log-of-sigmoid", form=HazardForm.COMPLEMENT)
    (finding,) = found(of(*pair), RULE)
    assert "optax.sigmoid_binary_cross_entropy(x, labels)" in finding.remedy
