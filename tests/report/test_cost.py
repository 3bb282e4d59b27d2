"""The cost of a step in every format: sentences, tables, the drawings, and what machines read of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gradscope.records import Cost, CostGrowth, GrowthPoint, KindCost, Report
from gradscope.report.shared.cost import alike, summary
from gradscope.report.shared.cost_growth import growth_sentences
from gradscope.report.shared.cost_tables import tables
from gradscope.serialization import report_json
from tests.report.canned import HOSTILE, costly
from tests.report.pages import compare, shown


def cost_of(report: Report) -> Cost:
    assert report.cost is not None
    return report.cost


def told(**changes: object) -> str:
    return " ".join(summary(replace(cost_of(costly()), **changes)))  # type: ignore[arg-type]


def grown(**changes: object) -> str:
    growth = replace(cost_of(costly()).growth[0], **changes)  # type: ignore[arg-type]
    return " ".join(growth_sentences(replace(cost_of(costly()), growth=(growth,))))


@pytest.mark.parametrize(
    ("name", "width", "suffix"),
    [("terminal", 120, "_120"), ("terminal", 80, "_80"), ("markdown", 120, "")],
)
def test_it_reads_as_it_did(name: str, width: int, suffix: str) -> None:
    compare(f"{name}_costly{suffix}.txt", shown(costly(), name, width=width))


def test_json_and_back_is_the_same_report() -> None:
    report = report_json.rounded(costly())
    assert report_json.loads(report_json.dumps(report)) == report
    assert json.loads(report_json.dumps(report))["cost"]["layers"][0]["forward"]["operations"] == 2e9


def test_a_step_is_told_with_its_parts_and_its_speed() -> None:
    text = told()
    assert "A training step with 8 rows takes 84.0 GFLOP: 28.0 GFLOP forward, 56.0 GFLOP backward" in text
    assert "for the update of the optimizer, 2.00 ms" in text
    assert "take 400 ms (half of the runs 390 ms to 440 ms), at 210 GFLOP/s" in text
    assert "ms" not in told(whole_s=None, update=None, layers=(), call_s=None)


def test_a_whole_that_ran_in_blocks_is_told_so() -> None:
    assert "Loss and gradient, compiled in 14 blocks, take 400 ms" in told(blocks=14)


def test_what_dominates_is_one_sentence() -> None:
    assert (
        "Matrix products are >99% of the operations; >99% of the time goes to the 14 layers blocks[*].up."
        in told()
    )


def test_seconds_of_parts_that_take_much_longer_than_the_whole_name_no_layer() -> None:
    text = told(whole_s=0.1)
    assert "of the operations go to" in text
    assert "4.35 times as long as the whole" in text
    assert "say little of where the whole spends its time" in text
    assert "Calls of 32 empty programs take 0.320 ms of that" in text
    assert "In larger pieces it ran slower here" in told(whole_s=1.0)


def test_xlas_count_is_told_before_and_after_it_optimizes() -> None:
    xla = cost_of(costly()).compiled
    assert xla is not None
    text = told()
    assert "XLA itself counts 84.0 GFLOP before it optimizes (as here) and 86.0 GFLOP in the" in text
    assert "compiled program (here 2.3% less): it may compute again what it fuses" in text
    drawn = told(kinds=(KindCost("random numbers", 1e10, 0.0),))
    assert "it may count one of the rounds that make a random number, compute again" in drawn
    near = told(compiled=replace(xla, compiled=xla.counted * 0.99))
    assert "83.2 GFLOP in the compiled program (here 1% more)." in near
    once = told(compiled=replace(xla, counted=1e9, given=1e9, compiled=None))
    assert (
        "XLA itself counts 1.00 GFLOP before it optimizes (as here), each loop as one step, as here." in once
    )


def test_what_was_not_counted_is_said() -> None:
    assert "What fft computes inside is not counted." in told()
    assert "1 loop of which only the run knows the number of steps: one step is counted." in told()


def test_what_repeats_is_told_with_what_one_more_adds() -> None:
    block = cost_of(costly()).repeated
    assert block is not None
    assert (
        "`block` repeats 14 times: together >99% of the operations, and each further one adds 6.00 GFLOP"
        in told()
    )
    lines = told(repeated=replace(block, block="lines 3 to 5 of f"))
    assert "lines 3 to 5 of `f` repeat 14 times" in lines
    assert "line 3 of `f` repeats 14" in told(repeated=replace(block, block="line 3 of f"))
    assert "a part of the program repeats 14" in told(repeated=replace(block, block="a part of the program"))
    assert "`step` runs 14 times" in told(repeated=replace(block, block="step", loop=True))


def test_layers_that_differ_by_their_place_are_alike_and_names_with_a_number_are_not() -> None:
    found = cost_of(costly())
    first = found.layers[0]
    names = ["a[0].w", "a[1].w", "b_0.norm1", "b_1.norm1", "b_0.norm2", "c.3", "conv2d", "norm1"]
    layers = tuple(replace(first, name=name) for name in names)
    rows = {row.name: len(row.layers) for row in alike(replace(found, layers=layers))}
    assert rows == {"a[*].w": 2, "b_*.norm1": 2, "b_0.norm2": 1, "c.3": 1, "conv2d": 1, "norm1": 1}


def test_seconds_that_were_shared_out_are_marked() -> None:
    table = next(table for table in tables(cost_of(costly())) if table.title == "Cost by layer")
    times = next(column for column in table.columns if column.heading == "time forward")
    assert [cell.startswith("~") for cell in times.cells].count(True) == 1, "not the sum"


def test_growth_says_its_range_and_where_the_square_dominates() -> None:
    text = grown()
    assert (
        "operations grow as length^1.20 (32 to 5,000, counted), time as length^0.97 (32 to 128, measured)"
        in text
    )
    assert "half of them from 5,000 on." in text
    assert "half of them from 9,000 on (counted there, too)." in grown(half_at=9000)
    assert "less than half of them everywhere from 32 to 5,000." in grown(half_at=None)
    assert "at least half of them everywhere from 32 on" in grown(half_at=20)
    assert "square" not in grown(quadratic_share=None)
    assert "That is 1.00 GFLOP for each row, exactly." in " ".join(growth_sentences(cost_of(costly())))


def test_one_point_is_no_growth() -> None:
    alone = CostGrowth("width", "", 8, (GrowthPoint(8, 1.0, 2.0),))
    assert growth_sentences(replace(cost_of(costly()), growth=(alone,))) == []


def test_the_page_draws_bars_and_growth_and_names_do_nothing() -> None:
    page = shown(costly(), "html")
    assert "blocks[0].up, forward: 10.0 ms" in page
    assert page.count('class="plot"') == 2
    assert HOSTILE not in page
    assert "<script" not in page


@pytest.mark.parametrize("name", ["sarif", "junit", "github", "gitlab", "json"])
def test_machines_get_the_finding(name: str) -> None:
    assert "cost-over-limit" in shown(costly(), name)


def test_without_times_nothing_is_left_that_a_clock_said() -> None:
    bare = cost_of(costly()).without_times()
    text = report_json.dumps(replace(costly(), cost=bare))
    assert bare.parts_s is None
    assert all(point.seconds is None for growth in bare.growth for point in growth.points)
    assert '"estimated": true' not in text
