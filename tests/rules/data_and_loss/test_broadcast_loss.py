"""broadcast-loss: what is told of shapes that meet, and how gravely."""

from __future__ import annotations

from typing import Any

from gradscope.records import ExamplePairing, Objective, Severity
from tests.rules.made import found, layer, measured, source

RULE = "broadcast-loss"


def pairing(**fields: Any) -> ExamplePairing:
    defaults: dict[str, Any] = {
        "op": "sub",
        "source": source(7, "return jnp.mean((pred - y) ** 2)"),
        "layer": "head",
        "shape": (64, 1),
        "promoted": (64,),
        "result": (64, 64),
        "examples": 64,
        "asked": False,
        "targets": True,
    }
    return ExamplePairing(**(defaults | fields))


def told(*pairings: ExamplePairing) -> list[Any]:
    return found(measured([layer("head", 1)], objective=Objective(example_pairings=pairings)), RULE)


def test_a_loss_without_pairs_is_quiet() -> None:
    assert told() == []


def test_a_column_against_a_row_is_an_error_with_both_shapes_and_the_remedy() -> None:
    (finding,) = told(pairing())
    assert finding.severity is Severity.ERROR
    assert "shape (64, 1) against one of shape (64,) to (64, 64)" in finding.message
    assert "all 4,096 pairs" in finding.message
    assert "`[..., 0]`" in finding.remedy
    assert "(64,) with `[..., None]`" in finding.remedy
    assert (finding.layer, finding.source) == ("head", source(7, "return jnp.mean((pred - y) ** 2)"))


def test_an_axis_that_was_written_out_is_a_warning() -> None:
    (finding,) = told(pairing(asked=True))
    assert finding.severity is Severity.WARNING
    assert "if every pair is meant" in finding.remedy


def test_a_ranking_of_the_models_own_outputs_is_quiet() -> None:
    assert told(pairing(asked=True, targets=False)) == []
    assert len(told(pairing(targets=False))) == 1


def test_a_line_is_one_finding_and_the_gravest() -> None:
    (finding,) = told(pairing(asked=True), pairing(op="mul"), pairing())
    assert finding.evidence["op"] == "mul"


def test_the_same_shapes_at_two_lines_are_one_finding_that_names_both() -> None:
    (finding,) = told(pairing(), pairing(source=source(9)))
    assert (finding.source, finding.evidence["lines"]) == (source(7, "return jnp.mean((pred - y) ** 2)"), 2)
    assert f"The same shapes meet at {source(9)}." in finding.message
    assert len(told(pairing(), pairing(source=source(9), layer="value"))) == 2
    assert len(told(pairing(), pairing(source=source(9), shape=(64, 1, 1)))) == 2


def test_other_ranks_are_told_without_an_index() -> None:
    (finding,) = told(pairing(shape=(8, 1, 3), promoted=(8, 3), result=(8, 8, 3), examples=8))
    assert "Give both operands the same shape before they meet" in finding.remedy
