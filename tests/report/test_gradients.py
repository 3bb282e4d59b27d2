"""What `verify` found, at a terminal: every verdict, every width, hostile names."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import (
    ElementCheck,
    GradientCheck,
    Measurement,
    Report,
    RuleCheck,
    Source,
    Suite,
    Tool,
    Transposition,
    Verdict,
    Verification,
)
from gradscope.report import View, reporter
from gradscope.report.terminal.lines import width_of

RIGHT, WRONG, UNSURE = Verdict.RIGHT, Verdict.WRONG, Verdict.CANNOT_JUDGE
HOSTILE = "a.\x1b[31mred\u202e.a_very_long_name_that_no_terminal_has_room_for.kernel"


def leaf(name: str, verdict: Verdict = RIGHT, reason: str = "", **fields: Any) -> GradientCheck:
    known: dict[str, Any] = {"analytic": 0.125, "numeric": 0.25, "error": 0.125, "uncertainty": 1e-9}
    known |= {"directions": 3, "step": 1e-5, "dtype": "float64"}
    return GradientCheck(name, "layer", verdict, "", reason, **known | fields)


def verified(*gradients: GradientCheck, **fields: Any) -> Report:
    found = Verification(1.5, gradients, **fields)
    return Report("model.py", Tool("0.1.0", "0.10.2", "cpu"), gradients=found)


def whole() -> Report:
    nan = float("nan")
    return verified(
        leaf("w"),
        leaf("idle", reason="it does not reach the loss", directions=0, numeric=0.0, analytic=0.0),
        leaf(HOSTILE, WRONG, "0.5 times the finite differences, in every direction"),
        leaf("noisy", UNSURE, "rounding in bfloat16 moves the loss by 0.004", analytic=nan, numeric=nan),
        elements=(
            ElementCheck("w", (3, 4), RIGHT, 1.0, 1.0, 1e-9),
            ElementCheck(HOSTILE, (0,), WRONG, 1.0, 2.0, 1e-9),
        ),
        custom_rules=(
            RuleCheck("swish", "custom_vjp", "x", WRONG, "a factor of 2 is missing", 0.5, 0.5, 1e-9, 1,
                      Source("model.py", 7)),
            RuleCheck("fine", "custom_jvp", "x", RIGHT, "", 1.0, 0.0, 1e-9, 1),
        ),
        transposition=Transposition(RIGHT, "", 1.25, 1.25, 1e-12),
    )  # fmt: skip


def shown(report: Report, encoding: str = "utf-8", **view: Any) -> str:
    page = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="\n")
    reporter("terminal").render(Suite.of(report), page, View(**view))
    page.seek(0)
    return page.read()


def test_the_verdict_counts_the_leaves() -> None:
    first = shown(whole(), width=200).splitlines()[0]
    assert "nothing found in 4 parameter leaves: 2 right, 1 wrong, 1 cannot be judged; " in first
    assert "1 parameter leaf: 1 right" in shown(verified(leaf("w")))


def test_a_row_has_both_derivatives_their_error_and_what_it_is_uncertain_by() -> None:
    text = shown(verified(leaf("w")))
    assert "parameter" in text
    assert text.splitlines()[3].split() == ["✓", "w", "right", "0.125", "0.250", "0.500", "4.00e-09"]


def test_reasons_stand_below_what_is_not_right_and_with_all_below_the_rest() -> None:
    text = shown(whole())
    assert "0.5 times the finite differences" in text
    assert "rounding in bfloat16" in text
    assert "does not reach the loss" not in text
    assert "does not reach the loss" in shown(whole(), show_all=True)


def test_elements_rules_and_modes_follow() -> None:
    text = shown(whole())
    assert "single elements: 1 of 2 right" in text
    assert "swish (custom_vjp) at model.py:7, argument x: wrong: a factor of 2 is missing" in text
    assert "fine (custom_jvp), argument x: right" in text
    assert "forward against reverse mode: right (1.25 and 1.25)" in text


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = shown(whole(), width=width, show_all=True).splitlines()
    assert [line for line in lines if width_of(line) > width] == []
    assert [line for line in lines if line != line.rstrip()] == []


def test_names_are_harmless_and_whole() -> None:
    text = shown(whole(), width=60)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "".join(line.strip() for line in text.splitlines()).count("kernel") >= 1
    assert shown(whole(), encoding="ascii").isascii()


def test_many_right_leaves_are_counted_and_the_others_shown() -> None:
    many = verified(*(leaf(f"w{i}") for i in range(50)), leaf("odd", WRONG, "zero"))
    assert "50 more are right: --all shows them" in shown(many)
    assert "odd" in shown(many)
    assert "w49" in shown(many, show_all=True)


def test_a_report_without_a_verification_is_as_it_was() -> None:
    bare = replace(whole(), flow=Measurement(1.5, (), ()), gradients=None)
    assert "parameter" not in shown(bare).replace("0 parameters", "")
