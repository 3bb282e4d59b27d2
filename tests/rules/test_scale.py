"""What must not change a verdict: the scale of the loss, over sixty powers of ten; and hostile numbers."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import example, given, strategies as st

from gradscope.records import Connection, Cut, Measurement
from tests.rules.healthy import HEALTHY
from tests.rules.made import chain, decay, judge, layer, loop, measured, parameter, zero

SCALED = ("gradient_rms", "gradient_norm", "gradient_max")
LAYER_SCALED = (*SCALED, "delta_rms", "delta_max", "delta_norm")
powers = st.floats(-6, 6)
numbers = st.one_of(st.none(), st.just(0.0), powers.map(lambda p: 10**p))
wild = st.one_of(st.none(), st.floats(min_value=0), st.sampled_from([0.0, math.nan, math.inf, 5e-324]))


def scaled(measurement: Measurement, by: float) -> Measurement:
    """The same run with its loss multiplied by `by`."""

    def times(record, names):
        values = {name: getattr(record, name) for name in names}
        return replace(record, **{name: None if v is None else v * by for name, v in values.items()})

    return replace(
        measurement,
        loss=measurement.loss * by,
        layers=tuple(times(one, LAYER_SCALED) for one in measurement.layers),
        parameters=tuple(times(one, SCALED) for one in measurement.parameters),
        recurrences=tuple(
            replace(one, delta_norms=tuple(d * by for d in one.delta_norms))
            for one in measurement.recurrences
        ),
    )


@st.composite
def runs(draw, deltas=numbers):
    net = chain(draw(st.lists(deltas, max_size=24)))
    dead = draw(st.sets(st.integers(0, 24)))
    leaves = [
        replace(leaf, **zero(nonzero_after_steps=draw(st.sampled_from([None, False, True]))))
        if i in dead
        else leaf
        for i, leaf in enumerate(net.parameters)
    ]
    states = tuple(d or 0.0 for d in draw(st.lists(deltas, max_size=30)))
    recurrences = loop(states).recurrences
    return measured(net.layers, leaves, recurrences=recurrences, loss=draw(st.floats(0.1, 10)))


def verdicts(measurement):
    findings, skipped = judge(measurement)
    return [(f.rule, f.severity, f.layer, f.parameter) for f in findings], skipped


@given(runs(), st.floats(-30, 30).map(lambda power: 10**power))
@example(chain(decay(6, 0.25)), 1e-30)
@example(chain(decay(4, 16.0)), 1e30)
@example(chain(HEALTHY["transformer, 12 blocks"]), 1e-30)
def test_no_verdict_moves_with_the_scale_of_the_loss(measurement, by):
    assert verdicts(scaled(measurement, by)) == verdicts(measurement)


@given(runs(wild), wild)
@example(chain([1e308, 1e100, 1e-100, 5e-324]), 1.0)
@example(chain([5e-324, 1e-100, 1e100, 1e308]), 1.0)
@example(loop([1e308, 1e300, 1e290, *decay(6, 10.0), 5e-324]), 1.0)
def test_no_number_makes_a_rule_crash(measurement, loss):
    judge(replace(measurement, loss=1.0 if loss is None else loss))


@given(st.lists(st.text(max_size=8), min_size=1, max_size=6, unique=True))
def test_no_name_makes_a_rule_crash(names):
    cut = Cut("stop_gradient", None, on_parameter=False)
    kinds = list(Connection)
    leaves = [
        parameter(f"{name}", connection=kinds[i % 4], cuts=(cut,), **zero()) for i, name in enumerate(names)
    ]
    judge(measured([layer(name, i) for i, name in enumerate(names)], leaves))


@given(st.lists(powers.map(lambda p: 10**p), min_size=4, max_size=30), st.integers(2, 64))
def test_a_wider_network_and_a_larger_batch_keep_the_verdict(deltas, wider):
    narrow = chain(deltas)
    wide = measured(
        [
            replace(one, fan_in=32 * wider, weight_rms=0.25 / wider**0.5, delta_rms=1e-9)
            for one in narrow.layers
        ],
        [replace(leaf, weight_rms=0.25 / wider**0.5) for leaf in narrow.parameters],
    )
    assert [f.message for f in judge(wide)[0]] == [f.message for f in judge(narrow)[0]]
