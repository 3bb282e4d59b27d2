"""A training over time: its sentence, its columns, its heat maps, and how they stand at a terminal."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from gradscope.recording.thinning import Thinned
from gradscope.records import Ending, Extremes, History, Report, StepRecord, ValidationRecord
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import ASCII, UNICODE
from gradscope.report.shared.heat_map import UPDATES, delta_map, update_map
from gradscope.report.shared.history import marks, progress, sentence
from gradscope.report.shared.time_columns import (
    column_of,
    gradient_norms,
    losses,
    steps_in,
    time_columns,
    validation,
)
from gradscope.report.terminal.history import live_lines
from gradscope.report.terminal.lines import width_of
from gradscope.report.terminal.short_names import short_names
from gradscope.rules.steps import taken
from tests.recording.made import heading, history, step
from tests.report.canned import HOSTILE, broken, healthy, monitored, monitored_history
from tests.report.pages import shown


def falling(steps: int = 1000, **changes: Any) -> History:
    return replace(history(steps, lambda t: step(t, 2.3 - t / 500)), **changes)


def of_losses(*values: float, ending: Ending = Ending.COMPLETE) -> History:
    return history(len(values), lambda t: step(t, values[t]), ending=ending)


def without_loss(steps: int = 50) -> History:
    """As a recorder in an optimizer sees it."""

    def of(t: int) -> StepRecord:
        found = step(t, norm=4.0 - 0.05 * t, activation_rms=[math.nan] * 2, delta_rms=[math.nan] * 2)
        return replace(found, losses=())

    return history(steps, of)


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (falling(), "Over 1,000 steps of your optimizer the loss falls from 2.30 to 0.302."),
        (
            of_losses(2.3, 0.5, 0.88, 0.91),
            "Over 4 steps of your optimizer the loss falls from 2.30 to 0.910, lowest 0.500 at step 1.",
        ),
        (
            of_losses(1.0, 2.0),
            "Over 2 steps of your optimizer the loss rises from 1.00 to 2.00, lowest 1.00 at step 0.",
        ),
        (of_losses(1.0, 1.0), "Over 2 steps of your optimizer the loss stays at 1.00."),
        (of_losses(1.0), "1 step of your optimizer: the loss before it is 1.00."),
        (
            of_losses(2.0, 1.5, math.nan),
            "Over 3 steps of your optimizer the loss goes from 2.00 to NaN or infinity, lowest 1.50 at "
            "step 1; the first that is not finite is that of step 2.",
        ),
        (
            of_losses(-math.inf, 1.5),
            "Over 2 steps of your optimizer the loss starts at NaN or infinity and ends at 1.50; "
            "the first that is not finite is that of step 0.",
        ),
        (
            of_losses(math.nan, math.nan),
            "Over 2 steps of your optimizer the loss starts and ends at NaN or infinity; "
            "the first that is not finite is that of step 0.",
        ),
        (
            falling(2, own=False, optimizer="adam(0.001)"),
            "Over 2 steps of adam(0.001), for want of an optimizer in the file, the loss stays at 2.30.",
        ),
        (
            without_loss(),
            "50 steps of your optimizer without a record of the loss; the gradient norm goes from 4.00 to "
            "1.55.",
        ),
        (history(0, step), "No step was recorded."),
    ],
)
def test_the_sentence(found: History, said: str) -> None:
    assert sentence(found) == said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ending": Ending.INTERRUPTED, "asked": 500}, "It was stopped by Ctrl-C after 3 of 500 steps."),
        ({"ending": Ending.INTERRUPTED, "asked": None}, "It was stopped by Ctrl-C after 3 steps."),
        (
            {"ending": Ending.DATA_ENDED, "asked": 500},
            "The data ended after 3 of 500 steps: `--repeat` goes through them again.",
        ),
        (
            {"ending": Ending.NOT_FINITE},
            "At step 2 a parameter would have become NaN or infinite: the step was not taken.",
        ),
        (
            {"ending": Ending.LOSS_NOT_FINITE, "asked": None},
            "It was stopped after 3 steps: the loss was not finite at twenty steps in a row.",
        ),
        ({"ending": Ending.RUNNING}, "No end was recorded: the training goes on, or was killed."),
        ({"record_cut_off": True}, "The last line of the recording is not whole."),
        (
            {"validation": tuple(map(ValidationRecord, (0, 1, 2, 3), (2.0, 0.5, math.nan, 0.7)))},
            "The validation loss falls from 2.00 to 0.700, lowest 0.500 after 1 step.",
        ),
        ({"validation": (ValidationRecord(3, 0.7),)}, "The validation loss is 0.700 after 3 steps."),
        (
            {"validation": (ValidationRecord(0, 2.0), ValidationRecord(3, math.inf))},
            "The validation loss goes from 2.00 to NaN or infinity, lowest 2.00 after 0 steps.",
        ),
    ],
)
def test_what_is_said_of_the_end_and_of_the_validation_loss(changes: dict[str, Any], said: str) -> None:
    assert sentence(replace(of_losses(2.0, 1.5, 1.0), **changes)).endswith(f"to 1.00. {said}")


def test_a_mean_over_several_steps_is_called_one() -> None:
    long = history(4096, lambda t: step(t, 2.0 if t % 2 else 1.0))
    assert "the loss stays at 1.50 (means over up to 4 steps), lowest 1.00 in steps 0 to 3" in sentence(long)


def test_the_sentence_of_a_training_that_goes_on() -> None:
    running = of_losses(2.0, 0.5, 0.75, ending=Ending.RUNNING)
    assert progress(replace(running, asked=1000)) == "Step 3 of 1,000: loss 0.750, lowest 0.500 at step 1."
    assert progress(replace(without_loss(), asked=None)) == "Step 50."


@given(st.integers(1, 400), st.integers(1, 90))
def test_columns_are_the_whole_training_in_order(steps: int, most: int) -> None:
    found = falling(steps)
    columns = time_columns(found, most)
    assert [span for column in columns for span in column] == list(range(len(found.spans)))
    assert len(columns) == min(most, len(found.spans))
    ends = [steps_in(found, column) for column in columns]
    assert (ends[0][0], ends[-1][1]) == (0, steps - 1)
    for place, (first, last) in enumerate(ends):
        assert {column_of(found, columns, each) for each in (first, last)} == {place}


def test_a_column_is_the_mean_loss_and_the_highest_norm() -> None:
    found = history(4, lambda t: step(t, float(t), norm=(1.0, 9.0, 2.0, math.nan)[t]))
    columns = time_columns(found, 2)
    loss = losses(found, columns)
    assert loss is not None
    assert (loss.values, loss.low, loss.high) == ((0.5, 2.5), (0.0, 2.0), (1.0, 3.0))
    norm = gradient_norms(found, columns)
    assert (norm.values, norm.low, norm.first) == ((9.0, math.inf), (1.0, 2.0), 1.0)
    assert losses(without_loss(), time_columns(without_loss(), 5)) is None


def test_a_loss_stands_on_a_log_scale_where_it_spans_more_than_two_decades() -> None:
    def kind(*values: float) -> str:
        found = of_losses(*values)
        curve = losses(found, time_columns(found, 9))
        return type(curve.scale).__name__ if curve else ""

    assert kind(1.0, 0.02) == "LinearScale"
    assert kind(1.0, 0.002) == "LogScale"
    assert kind(1.0, 0.0, -3.0) == "LinearScale"
    assert kind(math.nan) == "NoneType"


def test_a_validation_loss_stands_in_its_column() -> None:
    looks = (ValidationRecord(0, 3.0), ValidationRecord(5, math.nan), ValidationRecord(10, 1.0))
    found = falling(10, validation=looks)
    assert validation(found, time_columns(found, 5)) == [3.0, None, math.inf, None, 1.0]


def grid(values: list[list[float]], **rows: list[list[float]]) -> History:
    """δ by step and layer, and other quantities beside it."""
    names = [f"layers[{i}]" for i in range(len(values[0]))]
    others = {name: [1.0] * len(names) for name in ("activation_rms", "gradient_rms")}

    def of(t: int) -> StepRecord:
        beside = {name: each[t] for name, each in rows.items()}
        usual = {"weight_rms": [1.0] * len(names), "update_rms": [1e-3] * len(names)}
        return step(t, **{**others, **usual, **beside, "delta_rms": values[t]})

    return history(len(values), of, names)


def test_a_cell_is_the_highest_of_its_steps_and_what_is_odd_stays_apart() -> None:
    found = grid([[1.0, 0.0, math.nan], [5.0, 0.0, 2.0], [2.0, 0.0, math.nan], [3.0, math.inf, math.nan]])
    heat = delta_map(found, time_columns(found, 2), 9)
    assert heat is not None
    assert [row.cells for row in heat.rows] == [(5.0, 3.0), (0.0, math.inf), (2.0, None)]
    assert [(row.first, row.last) for row in heat.rows] == [(1.0, 3.0), (0.0, math.inf), (None, None)]
    assert all(heat.has(what) for what in (0.0, math.inf, None))
    assert heat.scale is not None
    assert heat.scale.ends == pytest.approx((5e-3, 5.0))


def test_neighbouring_layers_share_a_row_where_there_are_many() -> None:
    found = grid([[float(layer) for layer in range(7)]] * 3)
    heat = delta_map(found, time_columns(found, 3), 3)
    assert heat is not None
    assert [(row.label, row.cells[0]) for row in heat.rows] == [
        ("layers[0] to layers[1]", 1.0),
        ("layers[2] to layers[3]", 3.0),
        ("layers[4] to layers[6]", 6.0),
    ]
    assert heat.grouped == 3


def test_an_update_is_shown_relative_to_the_weight_on_one_scale_for_all_reports() -> None:
    found = grid(
        [[1.0] * 4] * 2,
        update_rms=[[0.1, 0.0, 0.0, math.inf], [0.2, 0.0, 0.0, 1.0]],
        weight_rms=[[1.0, 1.0, 0.0, 1.0], [2.0, 1.0, 0.0, math.inf]],
    )
    heat = update_map(found, time_columns(found, 9), 9)
    assert heat is not None
    assert [row.cells for row in heat.rows] == [(0.1, 0.1), (0.0, 0.0), (None, None), (math.inf, math.inf)]
    assert heat.scale is UPDATES


def test_without_delta_the_gradient_stands_in_its_place_and_the_report_says_so() -> None:
    found = without_loss()
    heat = delta_map(found, time_columns(found, 9), 9)
    assert heat is not None
    assert heat.title == "gradient rms"
    page = of(found)
    assert "gradient rms: " in page
    assert "δ was not recorded: the gradient of each layer's weight stands in its place." in page
    assert "\n  loss " not in page


def of(found: History, name: str = "terminal", **view: Any) -> str:
    return shown(Report("model.py", healthy().tool, history=found), name, **view)


def test_the_steps_that_findings_name_are_marked() -> None:
    first, second, third = broken().findings
    found = falling(100)
    given = (
        replace(first, evidence={"step": 40}),
        replace(second, evidence={"step": 40.0}),
        replace(third, evidence={"step": 7}),
        replace(first, evidence={"step": 100}),
        replace(first, evidence={"step": math.nan}),
        replace(first, evidence={}),
    )
    assert marks(given, found) == [
        (7, "step 7: exploding-through-time", "note"),
        (40, "step 40: blocked-gradient, non-finite", "error"),
    ]
    page = shown(Report("model.py", healthy().tool, history=found, findings=given), width=80)
    lines = page.splitlines()
    mark = next(line for line in lines if "step 40:" in line)
    axis = next(line for line in lines if line.startswith("  step"))
    columns = time_columns(found, len(axis) - axis.index("0"))
    assert mark.index("^") == axis.index("0") + column_of(found, columns, 40)
    many = [replace(first, evidence={"step": place}) for place in range(9)]
    page = shown(Report("model.py", healthy().tool, history=found, findings=tuple(many)))
    assert "… 5 more findings that name a step" in page


def test_zero_and_what_is_not_finite_are_told_only_where_they_are() -> None:
    page = shown(monitored(), width=120)
    assert "0 is exactly zero; x is not finite; a blank was not measured." in page
    assert "exactly zero" not in of(falling())


def test_both_maps_are_shown_where_there_is_room_or_they_are_asked_for() -> None:
    found = monitored_history()
    assert "update / weight: " not in of(found, width=80)
    assert "update / weight: " in of(found, width=80, verbose=True)
    assert "update / weight: " in of(found, width=100)


def test_many_layers_share_rows_and_all_shows_every_one() -> None:
    found = grid([[1e-3 * layer for layer in range(100)]] * 4)
    page = of(found, width=80)
    assert page.count("  layers[") == 20
    assert "layers[0] +4 " in page
    assert "A row is the highest of up to 5 layers: --all shows every one." in page
    assert of(found, width=80, show_all=True).count("  layers[") == 100


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII])
@pytest.mark.parametrize("width", [30, 60, 80, 100, 160])
@pytest.mark.parametrize("height", [1, 3, 6, 12, 20, 60])
def test_the_live_view_keeps_to_its_width_and_height(width: int, height: int, glyphs: Any) -> None:
    for found in (monitored_history(), without_loss(), falling(3), history(0, step), grid([[1.0] * 300] * 5)):
        lines = live_lines(found, View(width=width, glyphs=glyphs), height)
        texts = ["".join(text for text, _ in line) for line in lines]
        assert len(texts) <= height
        assert [text for text in texts if width_of(text) > width] == []
        assert all(text.isprintable() for text in texts)
        assert glyphs is UNICODE or all(text.isascii() for text in texts)


def test_the_live_view_shows_both_maps_in_the_height_there_is() -> None:
    found = grid([[1.0] * 300] * 5)

    def rows(height: int) -> tuple[int, int]:
        lines = live_lines(replace(found, asked=50), View(width=80), height)
        texts = ["".join(text for text, _ in line) for line in lines]
        assert texts[0] == "Step 5 of 50: loss 1.00."
        assert height - 1 <= len(texts) <= height
        heads = [i for i, text in enumerate(texts) if ", log scale" in text]
        return len(heads), sum("layers[" in text for text in texts)

    assert rows(40) == (2, 32)
    assert rows(14) == (2, 6)
    assert rows(11) == (1, 5)


def test_short_names_stay_apart() -> None:
    blocks = [f"encoder.blocks[{i}].attention.query_projection" for i in range(12)]
    assert short_names(["a", "head"], 4, "…") == ["a", "head"]
    assert short_names(["encoder.first", "decoder.second"], 8, "…") == ["…r.first", "….second"]
    assert short_names(["head", *blocks], 23, "…")[:2] == ["head", "enc.blo[0].att.que_pro"]
    assert len(set(short_names(blocks, 14, "…"))) == 12
    assert all(width_of(name) <= 5 for name in short_names(["日本語の層" * 3, "日本語の層" * 4], 5, "…"))


NUMBERS = st.floats(0, allow_infinity=True, width=32) | st.just(math.nan)


@settings(max_examples=60)
@given(st.lists(st.lists(NUMBERS, min_size=4, max_size=4), min_size=1, max_size=30), st.integers(20, 130))
def test_whatever_was_recorded_is_shown(rows: list[list[float]], width: int) -> None:
    def of_step(t: int) -> StepRecord:
        loss, norm, *values = rows[t]
        return step(t, loss, norm, delta_rms=values, update_rms=values[::-1])

    for name in ("terminal", "markdown", "html"):
        page = of(history(len(rows), of_step), name, width=width)
        assert page


def test_a_history_whose_losses_are_known_only_in_part() -> None:
    given = [(1.0,), (), (3.0, 2.0)]
    found = history(3, lambda t: replace(step(t), losses=given[t]))
    assert isinstance(found.losses, Extremes)
    loss = losses(found, time_columns(found, 9))
    assert loss is not None
    assert loss.values == (1.0, None, 2.5)
    assert "the loss rises from 1.00 to 2.50 (means over up to" in sentence(found)


def test_without_a_loss_the_footer_names_none() -> None:
    for name, said in (("terminal", "loss -"), ("markdown", "loss -"), ("html", "<dt>loss</dt>")):
        assert said not in of(without_loss(), name)
    assert "loss 2.30" in of(falling())


def test_hostile_names_are_shown_as_text() -> None:
    for name in ("terminal", "markdown", "html"):
        page = of(replace(monitored_history(), optimizer=HOSTILE, own=False), name, show_all=True)
        assert "\x1b" not in page
        assert "[31m" in page


@pytest.mark.parametrize("ending", Ending)
def test_every_ending_can_be_said(ending: Ending) -> None:
    assert sentence(of_losses(2.0, 1.0, ending=ending))


def test_a_training_that_was_taken_up_again_is_told_from_its_step_on() -> None:
    thinned = Thinned(heading(asked=6000))
    for number in range(5000, 5100):
        thinned.add(step(number, loss=float(5101 - number)))
    found = thinned.history(Ending.COMPLETE)
    said = sentence(found)
    assert said.startswith("Over 100 steps of your optimizer from step 5,000 on the loss falls from 101 to 2")
    assert taken(found) == "100 steps of your optimizer from step 5,000 on"
