"""future-leak: what is told of an output that depends on later inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gradscope.records import Finding, FutureLeak, Objective, Severity
from tests.rules.made import attention, found, head, layer, measured, source

RULE = "future-leak"


def leak(**fields: Any) -> FutureLeak:
    defaults: dict[str, Any] = {
        "source": source(17),
        "layer": "attention.out",
        "inputs": "tokens",
        "targets": "tokens",
        "position": 3,
        "first": 4,
        "length": 16,
        "change": 0.0358,
        "largest": 0.472,
        "target": True,
    }
    return FutureLeak(**(defaults | fields))


def told(*leaks: FutureLeak) -> list[Finding]:
    objective = Objective(future_leaks=leaks)
    return found(measured([layer("attention.out", 1)], objective=objective), RULE)


def test_outputs_that_see_the_past_alone_are_quiet() -> None:
    assert told() == []


def test_the_positions_the_change_and_the_first_layer_are_told() -> None:
    (finding,) = told(leak())
    assert finding.severity is Severity.ERROR
    assert (finding.layer, finding.source) == ("attention.out", source(17))
    assert "cut from `tokens`" in finding.message
    assert (
        "with inputs 4 to 15 replaced by others of the batch, the output at position 3 changed by 0.0358 ("
        in (finding.message)
    )
    assert "by 0.472 at most anywhere" in finding.message
    assert "the very element that it has to predict" in finding.message
    assert "`attention.out` is the first layer whose output changed at positions before 4." in finding.message
    assert "causal mask" in finding.remedy


def test_the_line_is_that_of_the_mask_that_lets_a_later_place_through() -> None:
    objective = Objective(future_leaks=(leak(),))
    opened = attention(head(), forward=60, backward=60, rows=64, masked=True)
    for masks, line in (([source(5)], 5), ([source(5), source(6)], 17), ([None], 17), ([], 17)):
        attentions = tuple(replace(opened, mask=mask) for mask in masks)
        flow = replace(measured([layer("attention.out", 1)], objective=objective), attentions=attentions)
        (finding,) = found(flow, RULE)
        assert finding.source == source(line)
        assert ("lets 60 of 64 rows see a later place" in finding.message) == (line == 5)


def test_other_arrays_unknown_layers_and_filled_weights_have_their_words() -> None:
    assert "`y` against `x`" in told(leak(inputs="x", targets="y"))[0].message
    assert "cut from the data" in told(leak(inputs="", targets=""))[0].message
    assert "first layer" not in told(leak(layer=None))[0].message
    assert "very element" not in told(leak(target=False))[0].message
    assert "small random ones stood in" in told(leak(filled=True))[0].message
    assert "inputs 15 replaced" not in told(leak(first=15))[0].message


def test_routing_is_a_note_that_may_be_ignored() -> None:
    (finding,) = told(leak(routed=True))
    assert finding.severity is Severity.NOTE
    assert "ignore this" in finding.remedy


def test_one_line_is_told_once() -> None:
    assert len(told(leak(), leak())) == 1
    assert len(told(leak(), leak(source=source(9)))) == 2
