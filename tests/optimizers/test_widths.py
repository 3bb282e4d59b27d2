"""What is said of widths: no more than rates and seeds show."""

from __future__ import annotations

from typing import Any

from gradscope.optimizers.widths import sentences
from gradscope.records import OptimizerAtWidth


def row(
    name: str, width: int, rate: float | None = 0.01, *gains: float, loss: float = 1.0
) -> OptimizerAtWidth:
    known: Any = sorted(gains) or [None, None, None]
    return OptimizerAtWidth(width, 10 * width, name, rate, None, loss, known[1], known[0], known[2])


def said(*rows: OptimizerAtWidth) -> str:
    return " ".join(sentences(rows, "adam"))


def test_rates_that_move_and_rates_that_stay() -> None:
    text = said(
        row("sgd", 8, 0.1), row("sgd", 16, 0.03), row("sgd", 32, 0.01), row("adam", 8), row("adam", 32)
    )
    assert (
        "From width 8 to 32 the best learning rate moves: sgd from 0.1 to 0.01, by a factor of 0.1." in text
    )
    assert "From width 8 to 32 the best learning rate stays within half a decade: adam." in text


def test_what_diverged_or_has_no_rate_says_nothing_of_rates() -> None:
    diverged = (row("sgd", 8, 0.1, loss=float("inf")), row("sgd", 32))
    assert said(*diverged, row("dog", 8, None), row("dog", 32, None)) == ""


def test_a_gain_has_changed_where_the_seeds_of_the_widths_lie_apart() -> None:
    text = said(row("muon", 8, 0.1, 1.3, 1.4, 1.5), row("muon", 32, 0.1, 1.0, 1.1, 1.2))
    assert (
        "over that of adam, from width 8 to 32, changed by more than the seeds differ: muon 1.40 to" in text
    )
    text = said(row("muon", 8, 0.1, 1.3, 1.4, 1.5), row("muon", 32, 0.1, 1.0, 1.1, 1.3))
    assert "unchanged within what the seeds differ: muon 1.40 to 1.10." in text
