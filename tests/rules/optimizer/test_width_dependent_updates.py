"""width-dependent-updates: the whole interval beyond the limit, on one side."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Exponent, LayerAtWidth, LayerOverWidths, Parametrization, Skipped
from gradscope.rules.base import Hit, Parts
from gradscope.rules.optimizer.width_dependent_updates import width_dependent_updates

FLAT = Exponent(0.0, -0.05, 0.05)


def layer(
    change: Exponent | None = FLAT, start: Exponent | None = FLAT, kind: str = "hidden", unjudged: str = ""
) -> LayerOverWidths:
    points = tuple(LayerAtWidth(width, seed, 1.0, width / 64) for width in (64, 256) for seed in (0, 1))
    return LayerOverWidths(kind, kind, points, start, change, unjudged)


def run(*layers: LayerOverWidths) -> list[Hit | Skipped]:
    found = Parametrization("adam", True, 3, (64, 128, 256), (1, 2, 3), (0, 1), layers)
    return list(width_dependent_updates.run(Parts(parametrization=found)))


def test_fires_above_the_limit_and_not_where_the_interval_reaches_it() -> None:
    (hit,) = run(layer(Exponent(0.5, 0.21, 0.79)))
    assert isinstance(hit, Hit)
    assert "by 1 at width 64 and 4 at width 256, as width^0.50 (0.21 to 0.79) (limit 0.2)" in hit.message
    assert not run(layer(Exponent(0.5, 0.2, 0.8)))
    assert not run(layer(Exponent(-0.5, -0.8, -0.2)))


def test_falling_is_told_with_remedies_of_its_own_and_by_kind() -> None:
    more, less = run(
        layer(Exponent(1.0, 0.9, 1.1), kind="output"), layer(Exponent(-1.0, -1.1, -0.9), kind="input")
    )
    assert isinstance(more, Hit)
    assert isinstance(less, Hit)
    assert "by more" in more.message
    assert "for an output layer" in more.remedy
    assert "for an input layer" not in more.remedy
    assert "by less" in less.message
    assert less.layer == "input"


def test_a_change_that_may_average_out_over_many_rows_is_not_judged() -> None:
    slow, fast = Exponent(-0.3, -0.4, -0.25), Exponent(-1.0, -1.1, -0.9)
    many = replace(layer(slow, kind="output"), rows=192, inputs=32)
    (skipped,) = run(many)
    assert isinstance(skipped, Skipped)
    assert skipped.what == "width-dependent-updates in output"
    assert "more rows (192) than inputs (32 at width 64)" in skipped.reason
    for told in (replace(many, rows=32), replace(many, change=fast), replace(many, kind="input")):
        (hit,) = run(told)
        assert isinstance(hit, Hit)


def test_an_output_that_begins_smaller_is_healthy_and_a_larger_one_is_not() -> None:
    assert not run(layer(start=Exponent(-0.5, -0.6, -0.4), kind="output"))
    (hit,) = run(layer(start=Exponent(0.5, 0.4, 0.6)))
    assert isinstance(hit, Hit)
    assert "Before the first step" in hit.message


def test_what_is_not_to_be_judged_is_listed_once_for_all_layers() -> None:
    steep = Exponent(1.0, 0.9, 1.1)
    assert run(layer(steep, unjudged="two widths")) == [Skipped("width-dependent-updates", "two widths")]
    (skipped,) = run(layer(steep, unjudged="two widths"), layer(kind="output"))
    assert skipped == Skipped("width-dependent-updates in hidden", "two widths")
    assert not run(layer(None, None))
