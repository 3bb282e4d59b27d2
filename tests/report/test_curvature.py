"""The curvature in every format: sentences, tables, the drawing, and what machines read of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gradscope.records import CriticalStep, Curvature, Eigenvalue, OwnRate, Report
from gradscope.report.shared.curvature import summary
from gradscope.serialization import report_json
from tests.report.canned import HOSTILE, curved
from tests.report.pages import compare, shown


def curvature_of(report: Report) -> Curvature:
    assert report.curvature is not None
    return report.curvature


def told(**changes: object) -> str:
    return " ".join(summary(replace(curvature_of(curved()), **changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "width", "suffix"),
    [("terminal", 120, "_120"), ("terminal", 80, "_80"), ("markdown", 120, "")],
)
def test_it_reads_as_it_did(name: str, width: int, suffix: str) -> None:
    compare(f"{name}_curved{suffix}.txt", shown(curved(), name, width=width))


def test_json_and_back_is_the_same_report() -> None:
    report = report_json.rounded(curved())
    assert report_json.loads(report_json.dumps(report)) == report
    assert json.loads(report_json.dumps(report))["curvature"]["layers"][2]["largest"] is None


def test_what_did_not_converge_is_told_as_a_bound() -> None:
    assert "The largest eigenvalue of the Hessian over 4,160 parameters is 8 ± 0.02." in told()
    assert "The smallest is at most -4, not found closely (residual 0.9)." in told()
    unsure = told(largest=Eigenvalue(8.0, 3.0, False))
    assert "is at least 8, not found closely (residual 3)" in unsure
    assert "at most 0.25" in unsure
    assert "at least 2 times that" in unsure
    assert "not to be told from zero" in told(smallest=Eigenvalue(1e-9, 1e-6, True), negative=None)


def test_a_rate_is_told_beside_what_the_optimizer_stands() -> None:
    assert "it is stable up to a curvature of 4, and the largest eigenvalue is 2 times that." in told()
    below = told(own=OwnRate("proportional", 0.1, 0.9, 38.0))
    assert "0.1 times the gradient with momentum 0.9" in below
    assert "is 21% of that" in below
    assert "38 / rate" in told(own=OwnRate("fixed", 1e-3, reason="x"))
    unknown = told(own=OwnRate("other", reason="its steps are in no proportion to the gradient"))
    assert "is not known: its steps are in no proportion to the gradient." in unknown


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (CriticalStep("your optimizer", 0.6, 0.25, 0.3), "back where it was between 0.25 and 0.3 times"),
        (CriticalStep("your optimizer", -0.3, 1024.0, None), "not above its start either at 1020 times"),
        (CriticalStep("your optimizer", 0.6, 0.0, 1e-5), "at every part of that update down to 1e-05"),
    ],
)
def test_the_critical_step_says_what_was_tried(step: CriticalStep, text: str) -> None:
    assert text in told(critical=step)


def test_a_point_is_a_saddle_a_minimum_or_neither() -> None:
    assert "0.5 away the mean of both sides lies 0.475 below it, as measured (0.5 by" in told()
    assert "neither a minimum nor a saddle" in told()
    assert "this is a saddle point" in told(gradient_norm=0.0)
    sure = told(gradient_norm=0.0, negative=None, smallest=Eigenvalue(1.0, 0.01, True))
    assert "bends up all around: a minimum" in sure
    flat = told(gradient_norm=0.0, negative=None, smallest=Eigenvalue(0.0, 0.01, True))
    assert "a minimum, as far as was seen" in flat
    assert "was not seen to fall" in told(noise=1.0)


def test_the_gauss_newton_step_stands_beside_the_best_along_the_gradient() -> None:
    text = told()
    assert "(its outputs: model.py:12), is 7.5 ± 0.03; that of the Hessian is 8 ± 0.02." in text
    assert "The best of 19 steps along the gradient, at a rate of 0.3, lowers the loss by 0.2, as" in text
    assert "at a damping of 0.0075 (the best of 7), lowers it by 0.6, 3 times as much." in text
    step = curvature_of(curved()).gauss_newton
    assert step is not None
    worse = told(gauss_newton=replace(step, damping=0.0, change=0.1))
    assert "at no damping (the best of 7), raises it by 0.1." in worse
    assert "Gauss-Newton" not in told(gauss_newton=None)


def test_a_zero_hessian_sets_no_limit() -> None:
    text = told(zero=True, largest=None, smallest=None, trace=0.0, density=())
    assert "is zero: its product with a random vector is exactly that" in text
    assert "stable up to a rate" not in text


def test_the_page_draws_the_density_and_names_do_nothing() -> None:
    page = shown(curved(), "html")
    assert page.count('class="strip"') == 4
    assert "-1 to 1: a share of 0.95" in page
    assert HOSTILE not in page
    assert "<script" not in page


def test_a_program_that_edits_code_gets_a_sentence_of_each_part() -> None:
    text = shown(curved(), "agent")
    assert "The largest eigenvalue of the Hessian over 4,160 parameters is 8 ± 0.02." in text
    assert "stable up to a rate of 2 / the largest eigenvalue, 0.25" in text
    assert "The Gauss-Newton step of 12 products lowers the loss by 0.6, the best step along the" in text


@pytest.mark.parametrize("name", ["sarif", "junit", "github", "gitlab", "json"])
def test_machines_get_the_finding(name: str) -> None:
    assert "unstable-learning-rate" in shown(curved(), name)
