"""vanishing-activations and exploding-activations: a steady change over depth, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from gradscope.records import Finding, Severity
from gradscope.rules import Parts, judge
from tests.rules.activations.made import another_start
from tests.rules.made import layer, measured
from tests.rules.training.made import trained

VANISHING, EXPLODING = "vanishing-activations", "exploding-activations"


def told(rule: str, sizes: Sequence[float | None], start: tuple[float, float] | None = None) -> list[Finding]:
    layers = [layer(f"layers[{i}]", i, activation_rms=size) for i, size in enumerate(sizes)]
    rescaled = None if start is None else another_start(*start)
    parts = Parts(flow=measured(layers), training=trained(rescaled=rescaled))
    return list(judge(parts, select=(rule,))[0])


FALLING, RISING = [0.1**i for i in range(6)], [10.0**i for i in range(6)]


def test_a_steady_fall_is_a_warning_without_the_head() -> None:
    (finding,) = told(VANISHING, FALLING)
    assert finding.severity is Severity.WARNING
    assert "from an rms of 1 at `layers[0]` to 0.0001 at `layers[4]`" in finding.message
    assert told(EXPLODING, FALLING) == []


def test_a_steady_growth_is_one_in_the_other_direction() -> None:
    (finding,) = told(EXPLODING, RISING)
    assert (
        "grow from an rms of 1 at `layers[0]` to 10000 at `layers[4]`: 1e+04 times"
        in finding.message.replace("10000 times", "1e+04 times")
    )
    assert told(VANISHING, RISING) == []


def test_one_jump_a_head_and_a_level_profile_are_quiet() -> None:
    assert told(VANISHING, [1, 1, 1, 1e-5, 1e-5, 1e-5]) == []
    assert told(VANISHING, [1, 1.1, 0.9, 1, 1.2, 1e-9]) == []
    assert told(VANISHING, [1, 0.1, 0.01, 0.001, 2.0, 1.0]) == []
    assert told(EXPLODING, [1, 2, 4, 8, 16, 32]) == []
    assert told(VANISHING, [1, None, 1, 0.0, 1, 1]) == []


def test_a_start_that_trains_no_better_makes_it_a_note() -> None:
    (finding,) = told(VANISHING, FALLING, start=(0.5, 0.5))
    assert finding.severity is Severity.NOTE
