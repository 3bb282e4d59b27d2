"""unbalanced-experts: told of experts that are never chosen, before and after the steps."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Finding, Routing
from tests.rules.made import chain, found, source


def told(loads: tuple[int, ...], later: tuple[int, ...] | None, rows: int = 64) -> list[Finding]:
    routing = Routing("router", source(3), 1, rows, 4, loads, later)
    return found(replace(chain([1.0] * 2), routings=(routing,)), "unbalanced-experts")


def test_experts_that_are_never_chosen_are_told() -> None:
    (finding,) = told((40, 0, 24, 0), (30, 0, 34, 0))
    assert finding.layer == "router"
    assert "2 of the 4 experts (1, 3, counted from 0) are chosen for none of the 64 rows" in finding.message
    assert "gets 62.5 % of the choices, where 25 % would be even." in finding.message


def test_one_that_is_chosen_later_or_was_not_looked_at_is_quiet() -> None:
    assert told((40, 0, 24, 0), (30, 1, 32, 1)) == []
    assert told((40, 0, 24, 0), None) == []
    assert told((61, 1, 1, 1), None) == []


def test_few_rows_say_nothing() -> None:
    assert told((63, 0, 0, 0), (63, 0, 0, 0), rows=63) == []
    assert told((64, 0, 0, 0), (64, 0, 0, 0), rows=64) != []
