"""dead-loss-term: which terms are dead, and what is said of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Cancellation, Connection, Cut, LossTerm, Severity, ZeroDerivative
from tests.rules.made import blocked, found, judge, layer, measured, parameter, source, zero

RULE = "dead-loss-term"
ALIVE = LossTerm(source(30, "edge"), Connection.CONNECTED)
STRAIGHT = ZeroDerivative(source(25), True, ("relu",), (), source(20))
EQUATION = LossTerm(source(28), Connection.DISCONNECTED, ("net.w",), derivative=STRAIGHT)
COUNTED = LossTerm(
    source(28), Connection.BLOCKED, ("net.w",), (Cut("argmax", source(27), on_parameter=False),)
)
STOPPED = replace(COUNTED, cuts=(Cut("stop_gradient", source(28), on_parameter=False),))


def loss(*terms, **fields):
    return measured([layer("net", 1)], terms=terms, **fields)


def test_a_derivative_that_straight_pieces_make_zero_is_an_error_with_both_lines():
    (finding,) = found(loss(EQUATION, ALIVE), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.source == source(28)
    assert finding.message == (
        "This term of the loss gives no gradient, for no parameter reaches it. The second or higher "
        "derivative that it takes at model.py:25 is 0 whatever the parameters are, because `relu` at "
        "model.py:20 is made of straight pieces, whose second derivative is 0."
    )
    assert "jnp.tanh" in finding.remedy


@pytest.mark.parametrize(
    "derivative",
    [
        replace(STRAIGHT, straight=()),
        replace(STRAIGHT, curved=("tanh",)),
        replace(STRAIGHT, repeated=False),
    ],
    ids=["linear", "curved as well", "first"],
)
def test_a_zero_derivative_that_straight_pieces_do_not_explain_is_a_warning(derivative):
    (finding,) = found(loss(replace(EQUATION, derivative=derivative), ALIVE), RULE)
    assert finding.severity is Severity.WARNING
    assert "relu" not in finding.message
    assert "argument" in finding.remedy


def test_a_derivative_that_is_another_number_is_told_with_it():
    derivative = replace(STRAIGHT, repeated=False, value=1.0)
    (finding,) = found(loss(replace(EQUATION, derivative=derivative), ALIVE), RULE)
    assert finding.severity is Severity.WARNING
    assert (
        "is 1 whatever the parameters are: the function is a sum or a mean of what it is" in finding.message
    )
    assert "argument" in finding.remedy


def test_a_zero_derivative_within_a_term_that_has_a_gradient_is_told_as_well():
    (finding,) = found(loss(replace(EQUATION, connection=Connection.CONNECTED)), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.message.startswith("The loss is constant in part. The second or higher derivative")


SAME = Cancellation(source(33), "sub")
RATIO = LossTerm(source(34), Connection.DISCONNECTED, ("net.w",), cancellation=SAME)


def test_a_difference_of_a_value_and_itself_is_an_error_with_its_line():
    (finding,) = found(loss(RATIO, ALIVE), RULE)
    assert (finding.severity, finding.source) == (Severity.ERROR, source(34))
    assert finding.message == (
        "This term of the loss gives no gradient. The difference that it takes at model.py:33 is 0 whatever "
        "`net.w` is: both sides are computed in the same way, and their gradients cancel."
    )
    assert "stop_gradient" in finding.remedy
    (finding,) = found(loss(replace(RATIO, connection=Connection.CONNECTED), ALIVE), RULE)
    assert finding.severity is Severity.WARNING
    (finding,) = found(loss(replace(RATIO, cancellation=replace(SAME, op="div")), ALIVE), RULE)
    assert "The ratio that it takes at model.py:33 is 1" in finding.message


@pytest.mark.parametrize(("term", "explained"), [(RATIO, True), (EQUATION, False)])
def test_a_gradient_of_zero_is_the_symptom_of_a_cancellation_and_of_no_other(term, explained):
    leaf = parameter("net.w", nonzero_after_steps=False, **zero())
    layers = [layer("net", 1, gradient_max=0.0), layer("head", 2)]
    flow = measured(layers, [leaf, parameter("head.w")], terms=(term, ALIVE))
    rules = {finding.rule for finding in judge(flow)[0]}
    assert rules == ({RULE} if explained else {RULE, "zero-gradient"})


def test_a_cut_term_is_a_warning_with_the_operation_and_its_line():
    (finding,) = found(loss(ALIVE, COUNTED), RULE)
    assert finding.severity is Severity.WARNING
    assert finding.message == (
        "This term of the loss depends on `net.w` and gives no gradient to any parameter: `argmax` at "
        "model.py:27 ends every path."
    )
    assert "scores" in finding.remedy
    assert "stop_gradient" in found(loss(ALIVE, STOPPED), RULE)[0].remedy


@pytest.mark.parametrize(
    "terms",
    [
        (ALIVE,),
        (ALIVE, LossTerm(source(9), Connection.DISCONNECTED)),
        (ALIVE, replace(STOPPED, detached=True)),
        (COUNTED,),
    ],
    ids=["one term", "a constant", "added on purpose", "the whole loss: blocked-gradient tells"],
)
def test_these_are_no_dead_terms(terms):
    assert not found(loss(*terms), RULE)


def test_parameters_that_only_a_dead_term_was_to_reach_are_its_symptom():
    alone = parameter("net.w", connection=Connection.DISCONNECTED, **zero())
    findings, _ = judge(loss(EQUATION, parameters=[alone]))
    assert [finding.rule for finding in findings] == [RULE]
    assert "disconnected-parameter" in findings[0].message


def test_a_part_that_is_used_nowhere_is_told_beside_a_dead_term():
    unused = parameter("other.w", connection=Connection.DISCONNECTED, **zero())
    layers = [layer("net", 1), layer("other", None)]
    flow = measured(layers, [parameter("net.w"), unused], terms=(EQUATION, ALIVE))
    assert {finding.rule for finding in judge(flow)[0]} == {RULE, "disconnected-parameter"}


def test_a_cut_that_blocks_the_parameters_too_is_told_once():
    leaf = blocked("net.w", COUNTED.cuts[0])
    flow = measured([layer("net", 1), layer("head", 2)], [leaf, parameter("head.w")], terms=(ALIVE, COUNTED))
    assert [finding.rule for finding in judge(flow)[0]] == ["blocked-gradient"]
