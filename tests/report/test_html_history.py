"""A training on the page: curves, heat maps, and the same numbers as tables."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest

from gradscope.records import Finding, History, Report, StepRecord, ValidationRecord
from gradscope.report.html import fragment
from gradscope.report.html.scales import step_ticks
from gradscope.report.html.shades import BROKEN, NO_SHADE, SHADES, UNMEASURED, shade
from tests.recording.made import history, step
from tests.report.canned import HOSTILE, healthy, monitored, monitored_history
from tests.report.html_pages import Page
from tests.report.test_history import falling, grid, without_loss


def of(found: History, *findings: Finding) -> Page:
    return Page(section(found, *findings))


def section(found: History, *findings: Finding) -> str:
    text = fragment(Report("model.py", healthy().tool, history=found, findings=findings))
    (found_section,) = re.findall(r'<section id="[^"]*history".*?</section>', text, re.DOTALL)
    return str(found_section)


def drawn(page: Page, kind: str) -> list[str]:
    return [each["d"] for _, each in page.elements if each.get("class") == kind]


def test_the_training_stands_before_the_network() -> None:
    titles = [text for _, text in Page(fragment(replace(healthy(), history=falling()))).headings]
    assert titles.index("The training, step by step") < titles.index("The network, layer by layer")


def test_the_loss_has_a_line_a_strip_and_the_dots_of_its_validation() -> None:
    looks = tuple(ValidationRecord(each, 2.0 - each / 1000) for each in (0, 500, 1000))
    page = of(falling(validation=looks))
    lines, strips, dots = drawn(page, "line delta"), drawn(page, "strip"), drawn(page, "dots activation")
    assert [line.count("L") for line in lines] == [119, 119]
    assert [strip.count("L") for strip in strips] == [2 * 120 - 1]
    assert dots == ["M0 17.8h0M50.1 40.8h0M100 63.9h0"]
    assert "A point stands for up to 9 steps" in page.text
    assert "The dots are the validation loss." in page.text
    assert "loss 2.30 first, 0.302 last" in page.text


def test_single_steps_have_no_strip() -> None:
    page = of(falling(50))
    assert drawn(page, "strip") == []
    assert "A point stands" not in page.text


def test_a_strip_ends_where_something_is_not_finite() -> None:
    found = history(480, lambda t: step(t, math.nan if 200 <= t < 300 else float(t % 7)))
    page = of(found)
    assert len(drawn(page, "strip")) == 2
    assert len(drawn(page, "odd")) == 1


def test_the_step_of_a_finding_is_marked_in_every_picture() -> None:
    text = section(monitored_history(), *monitored().findings)
    assert "The upright line is step 70: learning-rate-too-high." in text
    assert text.count('class="mark"') == 2 + 2 * 6
    assert 'class="mark"' not in section(monitored_history())


def cells(found: History) -> list[list[tuple[str, str]]]:
    """Shade and title of each element, by row."""
    rows = re.findall(r"<li><span.*?</li>", section(found))
    each = re.compile(r'<rect [^>]*class="(\w+)"[^>]*><title>([^<]*)</title>')
    return [each.findall(row) for row in rows]


def test_neighbouring_cells_of_one_shade_are_one_element_with_their_range() -> None:
    rows = [[1.0, 0.0, math.nan], [1.1, 0.0, math.nan], [1e-3, math.inf, math.nan], [1.2e-3, 1.0, 1.0]]
    first, second, third = cells(grid(rows))
    assert first[:2] == [
        (f"s{SHADES}", "steps 0 to 1: 1.00 to 1.10"),
        ("s1", "steps 2 to 3: 0.00100 to 0.00120"),
    ]
    assert second[:3] == [
        (NO_SHADE, "steps 0 to 1: 0"),
        (BROKEN, "step 2: not finite"),
        (f"s{SHADES}", "step 3: 1.00"),
    ]
    assert third[0] == (UNMEASURED, "steps 0 to 2: not measured")


def test_cells_meet_and_cover_the_whole_row() -> None:
    text = section(falling(777))
    for row in re.findall(r'<svg viewBox="0 0 100 1".*?</svg>', text):
        edges = [(float(x), float(w)) for x, w in re.findall(r'x="([\d.]+)" width="([\d.]+)"', row)]
        assert edges[0][0] == 0
        assert sum(width for _, width in edges) == pytest.approx(100)


def test_what_is_odd_is_told_where_it_is() -> None:
    page = of(monitored_history())
    assert "An empty cell is zero; a cross is not finite; grey was not measured." in page.text
    assert "not finite" not in of(falling()).text
    assert "1e-05 or less" in page.text
    assert "about 0.001 is usual" in page.text


def test_without_delta_and_loss_the_gradient_is_shown() -> None:
    page = of(without_loss())
    assert "gradient rms" in page.text
    assert "δ was not recorded" in page.text
    labels = [each["aria-label"] for name, each in page.elements if name == "svg"]
    assert not [label for label in labels if label.startswith("loss")]


def test_nothing_is_drawn_of_a_recording_without_steps() -> None:
    text = section(history(0, step))
    assert "No step was recorded." in text
    assert "<svg" not in text


def test_of_many_layers_neighbours_share_a_row_and_the_page_stays_small() -> None:
    names = [f"encoder.blocks[{i}].attention.query_projection" for i in range(450)]

    def noisy(t: int) -> StepRecord:
        rows = [10.0 ** -((t * 7 + place) % 5) for place in range(len(names))]
        return step(t, delta_rms=rows, update_rms=rows, gradient_rms=rows)

    text = section(history(200, noisy, names))
    assert text.count("<li><span") == 150
    assert "A row is the highest of up to 3 layers." in text
    assert f"{names[0]} to {names[2]}" in text
    assert len(text.encode()) < 1_200_000


def test_every_shade_is_reached() -> None:
    assert [shade(place / 8) for place in range(9)] == [f"s{number}" for number in range(1, 10)]


def test_hostile_layers_are_text() -> None:
    page = of(history(5, step, (HOSTILE, "<script>alert(1)</script>")))
    assert "script" not in page.names
    assert "<script>alert(1)</script>" in page.texts


@pytest.mark.parametrize(
    ("last", "labels"),
    [
        (0, ["0"]),
        (1, ["0", "1"]),
        (19, ["0", "5", "10", "15", "19"]),
        (999, ["0", "500", "999"]),
        (2400, ["0", "1,000", "2,400"]),
    ],
)
def test_an_axis_of_steps_has_round_labels_and_its_end(last: int, labels: list[str]) -> None:
    assert [label for _, label in step_ticks(0, last)] == labels
    assert step_ticks(0, last)[-1][0] == (100 if last else 0)


def test_the_axis_of_a_training_that_was_taken_up_again_begins_there() -> None:
    assert [label for _, label in step_ticks(5000, 5100)] == ["5,000", "5,050", "5,100"]
    assert [place for place, _ in step_ticks(5000, 5100)] == [0, 50, 100]
    assert step_ticks(7, 7) == [(0.0, "7")]
