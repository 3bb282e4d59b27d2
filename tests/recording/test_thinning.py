"""A training of any length in a bounded number of spans, with its extremes."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from gradscope.recording.thinning import FEWEST_SPANS, MOST_SPANS, MOST_VALIDATIONS, Thinned
from gradscope.records import History, StepRecord, ValidationRecord
from tests.recording.made import heading, history, step


def test_up_to_the_bound_every_step_is_its_own_span() -> None:
    found = history(MOST_SPANS, lambda t: step(t, loss=float(t), delta_rms=(t + 1.0, 2.0)))
    assert found.spans == tuple(range(MOST_SPANS))
    assert found.losses.low == found.losses.high == tuple(map(float, range(MOST_SPANS)))
    delta = found.layers[0].delta_rms
    assert delta is not None
    assert delta.low == delta.high == tuple(t + 1.0 for t in range(MOST_SPANS))


@pytest.mark.parametrize("steps", [MOST_SPANS + 1, 5000, 7777])
def test_beyond_it_spans_are_merged_and_extremes_are_kept(steps: int) -> None:
    draw = random.Random(0)
    losses = [draw.random() for _ in range(steps)]
    losses[1234 % steps], losses[999] = 50.0, -50.0
    found = history(steps, lambda t: step(t, loss=losses[t], update_rms=(losses[t], 1.0)))
    assert len(found.spans) <= MOST_SPANS
    bounds = [*found.spans, steps]
    for place, (first, after) in enumerate(itertools.pairwise(bounds)):
        part = losses[first:after]
        assert found.losses.low[place] == min(part)
        assert found.losses.high[place] == max(part)
        assert found.mean_losses[place] == pytest.approx(sum(part) / len(part))
        update = found.layers[0].update_rms
        assert update is not None
        assert (update.low[place], update.high[place]) == (min(part), max(part))
    assert max(found.losses.high) == 50.0
    assert min(found.losses.low) == -50.0


def test_a_thousand_layers_take_fewer_spans() -> None:
    names = [f"layers[{i}]" for i in range(1000)]
    rows = {name: (1.0,) * 1000 for name in ("delta_rms",)}
    found = history(300, lambda t: step(t, **rows), layers=names)
    assert FEWEST_SPANS / 2 <= len(found.spans) <= FEWEST_SPANS


def test_the_first_step_that_is_not_finite_is_kept_exactly() -> None:
    bad = {2100: math.nan, 2200: math.inf}
    found = history(4000, lambda t: step(t, loss=bad.get(t, 1.0), norm=math.nan if t > 2150 else 1.0))
    assert (found.nonfinite_loss_at, found.nonfinite_gradient_at) == (2100, 2151)
    assert max(found.losses.high) == math.inf
    assert all(mean == 1.0 for mean in found.mean_losses)


def test_losses_between_measured_steps_count() -> None:
    thinned = Thinned(heading(every=10))
    one = step(0)
    thinned.add(one)
    thinned.add(StepRecord(10, tuple(map(float, range(10, 20))), 1.0, one.values))
    found = thinned.history()
    assert (found.spans, found.steps) == ((0, 1), 11)
    assert (found.losses.low[1], found.losses.high[1]) == (10.0, 19.0)


def test_a_layer_without_a_value_has_none() -> None:
    nothing = (math.nan, 1.0)
    found = history(
        5, lambda t: step(t, delta_rms=nothing, activation_rms=(1.0 if t == 3 else math.nan, 1.0))
    )
    assert found.layers[0].delta_rms is None
    seen = found.layers[0].activation_rms
    assert seen is not None
    assert seen.low[3] == 1.0
    assert math.isnan(seen.low[0])


def test_validations_are_thinned_and_the_best_is_kept() -> None:
    thinned = Thinned(heading())
    thinned.add(step(0))
    for number in range(3 * MOST_VALIDATIONS):
        thinned.add_validation(ValidationRecord(number, abs(number - 777) + 1.0))
    found = thinned.history().validation
    assert len(found) <= MOST_VALIDATIONS
    assert ValidationRecord(777, 1.0) in found
    assert [each.step for each in found] == sorted(each.step for each in found)


def resumed(first: int, apart: int = 1, count: int = 3, every: int = 1) -> History:
    thinned = Thinned(heading(every=every))
    for number in range(count):
        thinned.add(step(first + number * apart))
    return thinned.history()


def test_a_training_that_was_taken_up_again_begins_where_its_record_does() -> None:
    found = resumed(5000)
    assert (found.spans, found.begun, found.steps, found.recorded_steps) == (
        (5000, 5001, 5002),
        5000,
        5003,
        3,
    )
    assert resumed(5000, count=1).begun == 5000
    assert resumed(5000, apart=10, every=10).begun == 5000
    assert resumed(5000, count=4000).span_of(0) == (5000, 5003)


def test_a_training_recorded_at_every_hundredth_step_begins_at_its_first() -> None:
    assert resumed(99, apart=100).begun == 0
    assert resumed(9, apart=10, count=1, every=10).begun == 0
    assert resumed(0).begun == 0
