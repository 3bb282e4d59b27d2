"""What seeds and the baseline say, at a terminal."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import BaselineResult, KnownFinding, Outcome, Suite, Votes
from gradscope.report.shared.baseline import MOST_FIXED
from gradscope.report.terminal.lines import width_of
from tests.report.canned import deep, healthy, layer, vanishing
from tests.report.pages import compare, shown
from tests.report.runs import beside_baseline


@pytest.mark.parametrize("width", [40, 80, 120])
def test_it_reads_as_the_golden_file_does(width: int) -> None:
    text = shown(beside_baseline(), width=width)
    compare(f"baseline_{width}.txt", text)
    assert max(map(width_of, text.splitlines())) <= width


def test_each_finding_says_whether_the_baseline_has_it() -> None:
    text = shown(beside_baseline(), width=120)
    for place, said in enumerate(("new", "in the baseline", "worse than in the baseline")):
        assert f"error vanishing-gradient in encoder.blocks[{place}].mlp  {said}, in 4 of 5 seeds\n" in text
    assert "3 errors in 6 layers (1 in the baseline)" in text
    assert "1 batch · 5 seeds" in text


def test_without_a_baseline_and_with_one_seed_nothing_is_said() -> None:
    for said in ("baseline", "seed", "new"):
        assert said not in shown(deep())


def test_a_remark_never_stands_in_a_folded_name() -> None:
    name = ".".join(f"module_{i}" for i in range(20))
    finding = replace(vanishing(layer(name, 0.1)), votes=Votes(3, 5))
    for width in range(40, 200, 7):
        lines = shown(replace(deep(), findings=(finding,)), width=width).splitlines()
        assert sum("in 3 of 5 seeds" in line for line in lines) == 1
        assert max(map(width_of, lines)) <= width


def test_what_is_fixed_is_named_and_counted() -> None:
    fixed = tuple(KnownFinding("dead-units", f"layers[{i}]", None, "", {}) for i in range(MOST_FIXED + 5))
    report = replace(healthy(), baseline=BaselineResult("base.json", fixed))
    text = shown(report)
    assert text.count("fixed: dead-units in layers[") == MOST_FIXED
    assert "5 more are fixed" in text
    assert shown(report, show_all=True).count("fixed: ") == MOST_FIXED + 5
    assert "stale" not in text


def test_several_targets_tell_what_is_fixed_in_each() -> None:
    stale = replace(healthy(), baseline=BaselineResult("base.json", stale="A layer is gone."))
    text = shown(Suite((Outcome("a.py", healthy()), Outcome("b.py", stale))))
    assert "b.py: beside the baseline base.json\n  stale: A layer is gone.\n" in text
    assert "a.py:" not in text
