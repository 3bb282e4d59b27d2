"""linear-network: a warning that names the layers."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import Objective, Severity
from tests.rules.made import chain, found, loop, source

RULE = "linear-network"


def test_layers_that_are_one_linear_map_are_a_warning() -> None:
    flow = replace(chain([1.0] * 3), objective=Objective(linear_layers=("layers[0]", "layers[1]")))
    (finding,) = found(flow, RULE)
    assert (finding.severity, finding.layer, finding.source) == (Severity.WARNING, "layers[0]", source(11))
    assert "between `layers[0]` and `layers[1]`: together they are one linear map" in finding.message


def test_a_linear_recurrence_may_be_meant() -> None:
    flow = replace(loop([1.0] * 20), objective=Objective(linear_layers=("rnn", "head")))
    (finding,) = found(flow, RULE)
    assert finding.message.endswith("together they are one linear map of the whole sequence.")
    assert finding.remedy.endswith("as in a filter or a state space model, ignore this.")


def test_anything_less_is_quiet() -> None:
    assert found(chain([1.0] * 3), RULE) == []
