"""What several seeds say together, on records made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from gradscope.gate.seed_votes import SeedRun, combine, merged, over_seeds, told, with_spreads
from gradscope.records import Finding, Report, Severity, Skipped, Source, Tool, Votes
from tests.rules.made import chain, measured

NET = chain([1.0, 1.0, 1.0])


def finding(
    layer: str = "layers[0]", rule: str = "vanishing-gradient", text: str = "x @ w", **fields
) -> Finding:
    defaults = {"severity": Severity.ERROR, "message": "m", "evidence": {}, "remedy": "r", "parameter": None}
    return Finding(**({"rule": rule, "layer": layer, "source": Source("m.py", 3, text)} | defaults | fields))


def votes(runs, **options):
    together = combine(runs, NET, **options)
    return (
        [(f.layer, f.votes and f.votes.found) for f in together.findings],
        [(f.layer, f.votes and f.votes.found) for f in together.minority_findings],
    )


@pytest.mark.parametrize(("found", "of", "stays"), [(5, 5, True), (3, 5, True), (2, 5, False), (2, 4, False)])
def test_what_more_than_half_of_the_seeds_find_stays(found: int, of: int, stays: bool) -> None:
    runs = [[finding()] if place < found else [] for place in range(of)]
    assert votes(runs) == (([("layers[0]", found)], []) if stays else ([], [("layers[0]", found)]))


def test_what_was_not_counted_is_told_with_its_votes() -> None:
    (line,) = told(combine([[finding()], [], []], NET).minority_findings)
    assert line == Skipped(
        "vanishing-gradient in layers[0]", "near its limit: found in 1 of 3 seeds, not counted"
    )


def test_a_line_that_moved_is_the_same_and_another_line_is_not() -> None:
    moved = finding(source=Source("m.py", 9, "x @ w"))
    assert votes([[finding()], [moved]]) == ([("layers[0]", 2)], [])
    assert votes([[finding()], [], [finding(text="y @ w", layer="layers[1]")], [], []])[0] == []


def test_a_sickness_that_moves_between_layers_is_one_finding_of_all_seeds() -> None:
    runs = [[finding("layers[1]")], [finding("layers[2]")], [finding("layers[2]")], [finding("layers[0]")]]
    assert votes(runs) == ([("layers[2]", 4)], [])


def test_a_finding_is_as_grave_as_most_seeds_find_it_and_told_by_one_of_those() -> None:
    warning = finding(severity=Severity.WARNING, message="nearly")
    (kept,) = combine([[finding()], [warning], [finding()], [warning], [warning]], NET).findings
    assert (kept.severity, kept.message, kept.votes) == (Severity.WARNING, "nearly", Votes(5, 5))
    (kept,) = combine([[warning], [finding()], [finding()]], NET).findings
    assert (kept.severity, kept.message) == (Severity.ERROR, "m")
    (kept,) = combine([[finding()], [finding()], [warning], [], []], NET).findings
    assert kept.severity is Severity.WARNING


@pytest.mark.parametrize(
    "rule", ["non-finite", "disconnected-parameter", "blocked-gradient", "zero-gradient"]
)
def test_of_a_rule_without_a_limit_one_seed_is_enough(rule: str) -> None:
    assert votes([[], [finding(rule=rule)], [], [], []]) == ([("layers[0]", 1)], [])


def test_a_nan_in_one_seed_that_is_harmless_in_the_others_is_an_error_and_one_finding() -> None:
    harmless = finding(rule="non-finite", severity=Severity.NOTE)
    (kept,) = combine([[harmless], [finding(rule="non-finite")], [harmless]], NET).findings
    assert (kept.severity, kept.votes) == (Severity.ERROR, Votes(3, 3))
    moved = [[finding(f"layers[{place}]", "non-finite")] if place < 2 else [] for place in range(5)]
    assert votes(moved) == ([("layers[0]", 2)], [])


def test_where_most_seeds_are_sick_of_different_things_the_most_frequent_speaks() -> None:
    other = "exploding-gradient"
    runs = [[finding()], [finding(rule=other)], [finding("layers[1]", other)], [], []]
    together = combine(runs, NET)
    (kept,) = together.findings
    assert (kept.rule, kept.severity, kept.votes) == (other, Severity.ERROR, Votes(2, 5))
    assert "3 of 5 seeds have an error, not all the same" in kept.message
    assert [f.rule for f in together.minority_findings] == ["vanishing-gradient"]
    assert votes([*runs[:2], [], [], []])[0] == []


def test_an_error_of_most_seeds_is_not_lost_in_warnings() -> None:
    warning = finding(severity=Severity.WARNING)
    runs = [[finding()], [finding()], [warning], [warning, finding(rule="exploding-gradient")], [warning]]
    (kept,) = combine(runs, NET).findings
    assert (kept.rule, kept.severity, kept.votes) == ("vanishing-gradient", Severity.ERROR, Votes(2, 5))
    noted = [[finding(severity=Severity.NOTE)], [], []]
    assert not combine(noted, NET).findings


def test_a_rule_that_was_asked_once_is_not_put_to_the_vote() -> None:
    runs = [[finding(rule="wrong-gradient")], [], []]
    assert votes(runs, once={"wrong-gradient"}) == ([("layers[0]", None)], [])


def test_findings_stand_worst_first_and_then_in_forward_order() -> None:
    run = [
        finding("layers[2]"),
        finding("layers[0]", severity=Severity.NOTE),
        finding("layers[1]", "blocked-gradient"),
    ]
    assert [layer for layer, _ in votes([run, run])[0]] == ["layers[1]", "layers[2]", "layers[0]"]


def test_a_spread_is_of_the_layer_and_not_of_the_loss() -> None:
    louder = chain([1e6, 1e6, 1e6])
    assert [one.delta_norm_spread for one in with_spreads(NET, [louder]).layers] == pytest.approx([0, 0, 0])
    moved = with_spreads(NET, [chain([math.e**2, 1.0, 1.0])]).layers
    assert [one.delta_norm_spread for one in moved] == pytest.approx([1.0, 0, 0])


@pytest.mark.parametrize("delta", [None, 0.0, math.nan, math.inf])
def test_a_layer_without_a_level_has_no_spread(delta: float | None) -> None:
    spread = with_spreads(chain([1.0, delta, 1.0]), [NET]).layers
    assert [one.delta_norm_spread is None for one in spread] == [False, True, False]
    assert with_spreads(measured(), [measured()]) == measured()


def test_what_only_a_later_seed_could_not_judge_names_that_seed() -> None:
    same, other = Skipped("a", "b"), Skipped("c", "d")
    assert merged([[same], [same, other], [same]], (7, 8, 9)) == (same, Skipped("c", "d (seed 8)"))


def test_the_report_is_that_of_the_first_seed_with_the_votes_of_all() -> None:
    report = Report("m.py", Tool("0", "0", "cpu"), NET, seeds=(0, 1, 2))
    runs = [
        SeedRun(0, NET, (), ()),
        SeedRun(1, replace(NET, loss=9.0), (finding(),), ()),
        SeedRun(2, NET, (finding(),), ()),
    ]
    whole = over_seeds(report, runs)
    assert whole.flow.loss == 1.0
    assert [(f.votes, whole.verdict) for f in whole.findings] == [(Votes(2, 3), "sick")]


def test_it_is_told_with_the_numbers_of_the_seed_in_the_middle() -> None:
    runs = [[finding(evidence={"total": total}, message=str(total))] for total in (1e-9, 1e-4, 1e-6)]
    (kept,) = combine(runs, NET).findings
    assert kept.message == "1e-06"
    plain = [[finding(rule="blocked-gradient", message=name)] for name in "abc"]
    assert [f.message for f in combine(plain, NET).findings] == ["a"]
