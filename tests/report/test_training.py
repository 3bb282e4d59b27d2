"""The short training in words, as a curve, and in every format for people."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import Report, ShortTraining, Suite
from gradscope.report.html.page import fragment
from gradscope.report.markdown import reporter as markdown
from gradscope.report.shared.base import View
from gradscope.report.shared.glyphs import UNICODE
from gradscope.report.shared.training import curve, sentence
from gradscope.report.terminal import reporter as terminal
from tests.report.canned import healthy
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
