"""collapsed-representations: which layers are told to have made all rows alike."""

from __future__ import annotations

from typing import Any

from gradscope.records import Finding, RescaledLayer, RescaledStart, RowSpread, Severity
from gradscope.rules import Parts, judge
from tests.rules.made import chain, source
from tests.rules.training.made import skips, trained

RULE = "collapsed-representations"


def told(*spreads: float | tuple[float, float], **limits: float) -> list[Finding]:
    flow = chain([1.0] * len(spreads))
    pairs = [each if isinstance(each, tuple) else (each, each) for each in spreads]
    rows = tuple(RowSpread(one.name, *pair) for one, pair in zip(flow.layers, pairs, strict=True))
    parts = Parts(flow=flow, training=trained(spreads=rows))
    return list(judge(parts, select=(RULE,), limits={RULE: limits})[0])


def test_rows_that_become_alike_are_a_warning_at_the_first_such_layer() -> None:
    (finding,) = told(0.9, 0.3, 0.03, (0.01, 0.012))
    assert finding.severity is Severity.WARNING
    assert (finding.layer, finding.source) == ("layers[2]", source(13))
    assert "From `layers[2]` on" in finding.message
    assert "0.03 of the output's rms there (limit 0.03) and 0.01 at `layers[3]`" in finding.message
    assert "it was 0.9 at `layers[0]`" in finding.message
    assert "After 20 steps it is 0.03 and 0.012; the loss went from 2 to 1.5" in finding.message
    assert finding.evidence["layers"] == 2


def test_just_above_the_limit_is_quiet_before_or_after_the_steps() -> None:
    assert told(0.9, 0.031, 0.01) == []
    assert told(0.9, (0.01, 0.031), 0.01) == []
    assert told(0.9, 0.01, (0.01, 0.5)) == []
    assert told(0.9, 0.04, 0.01, spread=0.05)


def test_a_last_layer_alone_and_layers_behind_which_rows_differ_again_are_quiet() -> None:
    assert told(0.9, 0.5, 0.0) == []
    assert told(0.9, 0.01, 0.01, 0.5) == []


def test_rows_that_are_alike_in_the_batch_are_quiet() -> None:
    assert told(0.01, 0.01, 0.01) == []
    assert told(0.19, 0.01, 0.01) == []
    assert told(0.2, 0.01, 0.01)


def test_nothing_measured_is_quiet() -> None:
    assert told() == []


RESCALED = RescaledLayer("layers[0]", 1.5, 1.5, 0.0)


def tried(
    *directions: float, spread: float = 0.5, rescaled: float | None = None, **cured: Any
) -> list[Finding]:
    flow = chain([1.0] * len(directions))
    rows = tuple(
        RowSpread(one.name, spread, spread, each, each)
        for one, each in zip(flow.layers, directions, strict=True)
    )
    start = None if rescaled is None else RescaledStart((RESCALED,), 100, 2.0, 1.9, 2.0, rescaled)
    training = trained(spreads=rows, skips=skips(**cured), rescaled=start)
    return [each for each in judge(Parts(flow=flow, training=training))[0] if each.rule == RULE]


def test_rows_of_one_direction_are_an_error_where_residual_connections_cure_it() -> None:
    (finding,) = tried(0.9, 0.3, 0.03, 0.01)
    assert finding.severity is Severity.ERROR
    assert finding.layer == "layers[2]"
    assert (
        "nearly point in one direction: brought to one length, what they do not have in common is 0.03"
        in (finding.message)
    )
    assert (
        "100 steps of your optimizer end at a loss of 1.9, and at 0 with each of 4 outputs" in finding.message
    )
    assert tried(0.9, 0.3, 0.03, 0.01, rescaled=1.95) != []


def test_without_that_cure_or_with_another_one_a_direction_says_nothing() -> None:
    assert tried(0.9, 0.3, 0.03, 0.01, end_without=1.5) == []
    assert tried(0.9, 0.3, 0.03, 0.01, rescaled=0.1) == []
    assert tried(0.9, 0.3, 0.031, 0.01) == []


def test_rows_that_are_alike_are_an_error_where_residual_connections_cure_it_and_else_a_warning() -> None:
    rows = tuple(RowSpread(f"layers[{i}]", each, each) for i, each in enumerate((0.9, 0.3, 0.02, 0.01)))
    for kept, severity in ((1.9, Severity.ERROR), (1.5, Severity.WARNING)):
        training = trained(spreads=rows, skips=skips(end_without=kept))
        (finding,) = [
            each for each in judge(Parts(flow=chain([1.0] * 4), training=training))[0] if each.rule == RULE
        ]
        assert finding.severity is severity
        assert "nearly alike" in finding.message
