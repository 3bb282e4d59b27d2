"""What led up to a NaN, at a terminal and as JSON."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path

import pytest

from gradscope import language
from gradscope.records import Calculation, Cause, Operation, Origin, Report, Source, Suite
from gradscope.report import View, reporter
from gradscope.report.terminal.lines import width_of
from gradscope.serialization.report_json import dumps, loads, rounded, to_json
from tests.report.canned import HOSTILE, healthy

ROOT = Path(__file__).parents[2]
ORIGIN = Origin(
    op="div",
    operands=(0.5, 0.0),
    result=math.inf,
    made_by=("", "sqrt"),
    backward=False,
    cause=Cause.ROOT_AT_ZERO,
    source=Source("model.py", 29, "return jnp.sqrt(squared)"),
    dtype="float32",
    derivative_of="sqrt",
    forward_operands=(0.0,),
    became=Calculation("mul", (0.0, math.inf), math.nan),
    within=("distances",),
    steps=(3,),
    elements=12,
    size=144,
    layer="w2",
    poisoned=("w1", "w2"),
    lead_up=(
        Operation("dot_general", Source("model.py", 23, "return h @ params['w2']"), -1.5, 2.25, 0),
        Operation("exp", Source("model.py", 24, "e = jnp.exp(h)"), 0.0, 3e38, 4),
        Operation("custom\x1b[31m", Source(HOSTILE, 28, "x = \x1b[2J [bold]"), math.nan, math.nan, 9),
        Operation("sqrt", None, -0.0, 0.0, 0),
    ),
)


def with_origin() -> Report:
    report = healthy()
    return dataclasses.replace(report, flow=dataclasses.replace(report.flow, origin=ORIGIN))


def shown(**view: object) -> str:
    page = io.StringIO()
    reporter("terminal").render(Suite.of(with_origin()), page, View(**view))  # type: ignore[arg-type]
    return page.getvalue()


def test_each_operation_is_a_line_with_its_range_and_its_place() -> None:
    lines = shown(width=120).splitlines()
    start = lines.index("what led up to `sqrt`")
    product, exponential, _, root, end = lines[start + 1 : start + 6]
    assert product.split() == [
        "dot_general",
        "-1.5",
        "to",
        "2.25",
        "model.py:23",
        "return",
        "h",
        "@",
        "params['w2']",
    ]
    assert "0 to 3e+38, 4 elements not finite" in exponential
    assert root.split() == ["sqrt", "0"]
    assert end == "  then 12 of 144 elements not finite"


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 120, 200])
def test_no_line_of_it_is_wider_than_the_terminal_or_acts_on_it(width: int) -> None:
    text = shown(width=width)
    assert [line for line in text.splitlines() if width_of(line) > width] == []
    assert text.replace("\n", "").isprintable()


def test_in_japanese_its_ranges_and_counts_are_too() -> None:
    with language.speaking("ja"):
        lines = shown(width=120).splitlines()
    start = lines.index("`sqrt` に至るまで")
    product, exponential = lines[start + 1 : start + 3]
    assert "-1.5 ～ 2.25" in product
    assert "0 ～ 3e+38" in exponential
    assert "elements" not in exponential


def test_a_quiet_report_leaves_it_out() -> None:
    assert "what led up" not in shown(quiet=True)
    assert "what led up" in shown()


def test_it_comes_back_from_json() -> None:
    report = with_origin()
    back = loads(dumps(report)).flow.origin
    assert back is not None
    assert back.cause is Cause.ROOT_AT_ZERO
    assert back.became is not None
    assert math.isnan(back.became.result)
    assert dumps(rounded(report)) == dumps(report)


def test_the_page_on_json_has_every_key_of_an_origin() -> None:
    page = (ROOT / "docs/json.md").read_text(encoding="utf-8")
    text = page.partition("## The origin of a non-finite value")[2].partition("\n## ")[0]
    assert {key for key in to_json(with_origin())["flow"]["origin"] if f"`{key}`" not in text} == set()
