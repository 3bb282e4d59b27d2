"""state-not-carried: what is said of recurrent weights that see nothing but zeros."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Finding, Idleness, IdleRecurrence, Severity
from tests.rules.made import judge, layer, measured, parameter, source, zero

IDLE = IdleRecurrence(Idleness.OVERWRITTEN, ("cell.weight_hh",), ("cell",), source(26), 12, part=False)


def told(idle: IdleRecurrence, gradient: bool = False) -> list[Finding]:
    leaf = parameter("cell.weight_hh", nonzero_after_steps=None if gradient else False)
    leaf = leaf if gradient else replace(leaf, **zero())
    flow = measured([layer("cell", 1), layer("head", 2)], [leaf], idle_recurrences=(idle,))
    return list(judge(flow)[0])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Idleness.OVERWRITTEN, "no step reads what the one before has handed on. These weights get no"),
        (Idleness.APART, "nothing that a step makes with it is handed on."),
        (Idleness.WRITTEN_OUT, "is a constant 0 in each of 12 calls, and the loss depends on one of them"),
    ],
)
def test_it_is_the_one_error_and_says_how(kind: Idleness, words: str) -> None:
    (finding,) = told(replace(IDLE, kind=kind))
    assert (finding.rule, finding.severity) == ("state-not-carried", Severity.ERROR)
    assert (finding.layer, finding.source) == ("cell", source(26))
    assert finding.message.startswith("The state is not carried from step to step: what `cell.weight_hh`")
    assert words in finding.message
    assert finding.evidence["silenced"] == "zero-gradient"


def test_of_weights_for_input_and_state_in_one_nothing_is_said_of_a_gradient() -> None:
    (finding,) = told(replace(IDLE, part=True), gradient=True)
    assert "the state beside the input, which `cell.weight_hh` multiplies, is a constant 0" in finding.message
    assert "no gradient" not in finding.message


def test_weights_that_learn_from_something_else_are_not_said_to_get_no_gradient() -> None:
    assert "no gradient" not in told(IDLE, gradient=True)[0].message
