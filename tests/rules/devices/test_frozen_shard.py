"""frozen-shard: told with the parameter, the axis and the places."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import FrozenShard, Severity
from tests.rules.made import chain, found, source

ONE = FrozenShard("w", source(3), ("model",), 4, (2, 3), loss=1.5, moved=1.6)


def test_it_is_a_warning_that_names_the_parts() -> None:
    (finding,) = found(replace(chain([1.0] * 2), frozen_shards=(ONE,)), "frozen-shard")
    assert finding.severity is Severity.WARNING
    assert (finding.parameter, finding.source) == ("w", source(3))
    assert 'over the 4 devices along "model", and on 2 of them (at 2, 3)' in finding.message
    assert "give 1.6 instead of 1.5" in finding.message
