"""The figure of a report: its points are the numbers of the layers, and marked is what a finding names."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

import gradscope  # noqa: F401, it names what draws and shows a report
from gradscope.errors import GradscopeError
from gradscope.records import Report
from tests.report.canned import HOSTILE, broken, compared, deep, layer, report as made


@pytest.fixture(autouse=True)
def matplotlib(request: pytest.FixtureRequest) -> None:
    if "without" not in request.node.name:
        pytest.importorskip("matplotlib")


def points(axis: Any) -> dict[int, float]:
    """By row; the first line is the one that is measured."""
    x, y = axis.lines[0].get_data()
    return {int(row): float(value) for row, value in zip(y, x, strict=True) if value == value}


def marks(axis: Any) -> list[int]:
    return sorted(round(patch.get_y() + 0.5) for patch in axis.patches)


def test_the_points_are_the_numbers_of_the_layers_on_log_scales() -> None:
    report = deep(12)
    activation, delta = report.figure().axes
    assert points(delta) == {row: each.delta_rms for row, each in enumerate(report.flow.layers)}
    assert points(activation) == {row: each.activation_rms for row, each in enumerate(report.flow.layers)}
    assert (activation.get_xscale(), delta.get_xscale()) == ("log", "log")
    spans = [axis.get_xlim()[1] / axis.get_xlim()[0] for axis in (activation, delta)]
    assert spans[0] == pytest.approx(spans[1]), "the slopes do not compare"
    assert delta.get_ylim()[0] > delta.get_ylim()[1], "the input is not first"


def test_all_findings_are_marked_or_the_one_that_is_asked_for() -> None:
    report = broken()
    names = [each.name for each in report.flow.layers]
    found = [each for each in report.findings if each.layer in names]
    assert marks(report.figure().axes[0]) == sorted({names.index(each.layer) for each in found})
    assert marks(report.figure(found[-1]).axes[1]) == [names.index(found[-1].layer)]


def test_what_has_no_place_on_a_log_scale_stands_at_an_edge() -> None:
    layers = (layer("a", 1.0), layer("b", 0.0), layer("c", float("nan")), layer("d", None))
    _, not_finite, zero = made("m.py", layers).figure().axes[1].lines
    assert list(not_finite.get_ydata()) == [2]
    assert list(zero.get_ydata()) == [1]


def test_a_name_is_drawn_as_text_whatever_it_is() -> None:
    report = made(HOSTILE, (layer("$\\frac{x$", 1.0), layer(HOSTILE, 0.5), layer("long." * 99, 0.2)))
    image = report.figure()._repr_png_()
    assert image.startswith(b"\x89PNG")


def test_a_very_deep_network_is_drawn_too() -> None:
    drawn = deep(1500).figure()
    assert drawn.get_size_inches()[1] < 30
    assert len(drawn.axes[0].get_yticks()) < 200


def test_no_window_and_no_registry_of_figures_is_touched() -> None:
    code = (
        "import sys; from tests.report.canned import deep; import gradscope; deep(3).figure()._repr_png_(); "
    )
    code += "sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("report", [compared(), replace(deep(3), flow=None)])
def test_a_report_without_layers_is_an_error(report: Report) -> None:
    with pytest.raises(GradscopeError, match="no layers in this report"):
        report.figure()


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradscope.report import figures

    figures._figure_class.cache_clear()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(GradscopeError, match="matplotlib is needed to draw a figure") as caught:
        deep(3).figure()
    assert "gradscope-jax[figures]" in caught.value.fix
