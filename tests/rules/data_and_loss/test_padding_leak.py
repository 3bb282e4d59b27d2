"""padding-leak: what is told of a loss that depends on fillers."""

from __future__ import annotations

from typing import Any

from gradscope.records import Finding, Objective, PaddingLeak, Severity
from tests.rules.made import found, layer, measured, source

RULE = "padding-leak"


def told(**fields: Any) -> list[Finding]:
    defaults: dict[str, Any] = {
        "source": source(30),
        "sequences": "tokens",
        "said_by": "mask",
        "fillers": 28,
        "elements": 80,
        "replaced": 6,
        "change": 0.02,
        "loss": 1.52,
        "other": 1.61,
    }
    objective = Objective(padding_leaks=(PaddingLeak(**(defaults | fields)),))
    return found(measured([layer("head", 1)], objective=objective), RULE)


def test_a_loss_without_such_a_dependence_is_quiet() -> None:
    assert found(measured([layer("head", 1)]), RULE) == []


def test_the_mask_the_fillers_and_both_losses_are_told() -> None:
    (finding,) = told()
    assert finding.severity is Severity.WARNING
    assert finding.source == source(30)
    assert "fills `tokens` up to one length: `mask` leaves out 28 of 80 elements" in finding.message
    assert "with 6 fillers replaced by real elements the loss of 1.52 changes by 0.09" in finding.message
    assert "Outputs for real elements or whole sequences changed by up to 0.02." in finding.message
    assert "ignore this" in finding.remedy


def test_a_loss_that_counts_fillers_has_another_remedy() -> None:
    (finding,) = told(change=0.0, said_by="", replaced=1)
    assert "a mask that the loss computes leaves out" in finding.message
    assert "with 1 filler replaced" in finding.message
    assert "the loss counts these" in finding.message
    assert "jnp.sum(losses * mask) / jnp.sum(mask)" in finding.remedy
