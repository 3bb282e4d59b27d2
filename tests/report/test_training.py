"""The short training in words, as a curve, and in every format for people."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import OwnTrainStep, ParameterGroup, Report, Severity, ShortTraining, Suite
from gradscope.report.html.page import fragment
from gradscope.report.markdown import reporter as markdown
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import UNICODE
from gradscope.report.shared.training import curve, sentence
from gradscope.report.terminal import reporter as terminal
from tests.report.canned import deep, healthy
from tests.rules.training.made import trained


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (
            {"end": 0.5},
            "20 steps of your optimizer lower the loss from 2.00 to 0.500. If your run does not learn, look "
            "at its loop.",
        ),
        ({"end": 1.95}, "20 steps of your optimizer lower the loss from 2.00 to 1.95."),
        ({"end": 2.00001}, "20 steps of your optimizer leave the loss at 2.00."),
        ({"end": math.nan}, "20 steps of your optimizer take the loss from 2.00 to NaN."),
        (
            {"steps": 1, "batches": 4, "end": 1.95},
            "1 step of your optimizer lowers the loss of the first batch from 2.00 to 1.95.",
        ),
        (
            {"own": False, "optimizer": "adam(0.001)", "end": 0.5},
            "20 steps of adam(0.001), for want of an optimizer in the file, lower the loss from 2.00 to "
            "0.500.",
        ),
    ],
)
def test_the_sentence(fields: dict[str, Any], said: str) -> None:
    assert sentence(trained(**fields)) == said


@pytest.mark.parametrize(("severity", "told"), [("note", True), ("warning", False), ("error", False)])
def test_the_loop_is_named_where_nothing_in_the_file_is_at_fault(severity: str, told: bool) -> None:
    found = replace(deep().findings[0], severity=Severity(severity))
    assert ("look at its loop" in sentence(trained(end=0.5), [found])) == told
    shown = io.StringIO()
    terminal.REPORTER.render(
        Suite.of(replace(with_training(trained(end=0.5)), findings=(found,))), shown, View()
    )
    assert ("look at its loop" in " ".join(shown.getvalue().split())) == told


def test_the_curve_is_linear_and_marks_what_is_not_finite() -> None:
    falling = trained(losses=(4.0, 3.0, 2.0), end=1.0)
    assert curve(falling, UNICODE) == UNICODE.ramp[-1] + curve(falling, UNICODE)[1:3] + UNICODE.ramp[0]
    assert curve(trained(losses=(1.0, math.nan), end=math.inf), UNICODE).endswith("xx")
    assert curve(trained(losses=(math.nan,), end=math.nan), UNICODE) == ""


def with_training(training: ShortTraining) -> Report:
    return replace(healthy(), training=training)


@pytest.mark.parametrize("reporter", [terminal.REPORTER, markdown.REPORTER], ids=["terminal", "markdown"])
def test_it_stands_in_the_text(reporter: Any) -> None:
    out = io.StringIO()
    reporter.render(Suite.of(with_training(trained(end=0.5))), out, View())
    assert "20 steps of your optimizer lower the loss from 2.00 to 0.500." in " ".join(out.getvalue().split())


def test_it_stands_in_the_page_with_its_numbers() -> None:
    page = str(fragment(with_training(trained(losses=(2.0, 1.5, 1.25), end=0.5))))
    assert "lower the loss from 2.00 to 0.500" in page
    assert "1.25" in page
    assert "A short training" in str(fragment(with_training(trained(losses=(math.nan,), end=math.nan))))


GROUPS = (
    ParameterGroup(("a.w", "b.w", "c.w", "d.w", "e.w"), 1200, "fixed", 1e-3, True, 1e-4),
    ParameterGroup(("head.w",), 30, "proportional", 0.1, False, 0.0),
    ParameterGroup(("<b>",), 4, "frozen", None, False, 0.0),
    ParameterGroup(("noise",), 1, "other", None, False, None),
    ParameterGroup(("l2",), 1, "other", None, True, None),
)
CELLS = (
    ("a.w, b.w, c.w and 2 more", "1,200", "0.001", "0.0001"),
    ("head.w", "30", "0.1 x gradient", "none"),
    ("frozen", "none"),
    ("noise", "own kind", "-"),
    ("l2", "own kind", "yes"),
)


@pytest.mark.parametrize("reporter", [terminal.REPORTER, markdown.REPORTER], ids=["terminal", "markdown"])
def test_groups_of_the_optimizer_are_a_table(reporter: Any) -> None:
    out = io.StringIO()
    reporter.render(Suite.of(with_training(trained(groups=GROUPS))), out, View())
    lines = out.getvalue().splitlines()
    for cells in CELLS:
        assert any(all(cell in line for cell in cells) for line in lines), cells


def test_the_page_has_the_groups_and_escapes_their_names() -> None:
    page = str(fragment(with_training(trained(groups=GROUPS))))
    assert "0.1 x gradient" in page
    assert "&lt;b&gt;" in page
    assert "<code><b>" not in page


@pytest.mark.parametrize("groups", [(), GROUPS[:1], GROUPS[:3] * 3])
def test_one_group_or_one_for_each_leaf_is_no_table(groups: Any) -> None:
    assert "own kind" not in str(fragment(with_training(trained(groups=groups))))
    assert "frozen" not in str(fragment(with_training(trained(groups=groups))))


@pytest.mark.parametrize(("end", "told"), [(0.5, True), (1.95, False), (math.nan, False)])
def test_the_loop_is_named_beside_a_step_that_learns(end: float, told: bool) -> None:
    step = OwnTrainStep("train_step", None, 0, 20, 8, True, (), (), 1.0, None, 2.0, end, 0.5)
    said = sentence(trained(end=0.5, own_step=step))
    assert "20 steps of `train_step` in your file take the mean loss of 8 batches from 2.00 to" in said
    assert said.endswith("If your run does not learn, look at its loop.") == told
