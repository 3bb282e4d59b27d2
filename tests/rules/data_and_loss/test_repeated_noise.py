"""repeated-noise, on records: at its limits, and quiet just below."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gradscope.records import Finding, RepeatedNoise, RepeatedNoiseTrial
from gradscope.rules import Parts, judge
from tests.rules.made import source
from tests.rules.training.made import trained

KEY, DRAW = source(3, "key = jax.random.key(0)"), source(5, "noise = jax.random.normal(key, x.shape)")


def told(trial: RepeatedNoiseTrial | None, **fields: Any) -> Finding:
    noise = RepeatedNoise(
        **({"key": KEY, "source": DRAW, "shape": (8, 2), "layer": "body"} | fields), trial=trial
    )
    (found,) = [
        finding
        for finding in judge(Parts(training=trained(repeated_noise=(noise,))))[0]
        if finding.rule == "repeated-noise"
    ]
    return found


def trial(end: float, renewed: float = 1.0, error: float = 0.01) -> RepeatedNoiseTrial:
    return RepeatedNoiseTrial(200, 2.0, 0.1, end, renewed, error)


@pytest.mark.parametrize(
    ("tried", "severity"),
    [
        (None, "warning"),
        (trial(1.11), "error"),
        (trial(1.09), "warning"),
        (trial(1.03), "note"),
        (trial(0.5), "note"),
        (trial(1.5, error=0.2), "note"),
        (trial(math.nan), "error"),
        (trial(1.5, renewed=math.nan), "note"),
        (trial(3.0, renewed=2.5), "warning"),
    ],
)
def test_how_much_new_noise_brings_decides(tried: RepeatedNoiseTrial | None, severity: str) -> None:
    assert told(tried).severity.value == severity


def test_the_lines_of_key_and_draw_the_layer_and_the_numbers_are_told() -> None:
    found = told(trial(1.5))
    assert (found.layer, found.source) == ("body", KEY)
    assert "of shape (8, 2), come from a key that is made of a number" in found.message
    assert "drawn at model.py:5). They go into `body`." in found.message
    assert (
        "200 steps take the loss to 0.1 with this noise. On noise that they have not seen it is 1.5, and 1"
        in (found.message)
    )
    assert told(None, key=None).source == DRAW


def test_without_noise_it_is_quiet() -> None:
    assert judge(Parts(training=trained()), select=("repeated-noise",))[0] == ()
