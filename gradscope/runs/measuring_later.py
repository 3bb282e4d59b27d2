"""The flow of the gradient at other weights than those of the problem: after some steps of a training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from gradscope.measure import nonfinite_counts
from gradscope.measure.flow import Sample
from gradscope.measure.leaf_statistics import weight_statistics
from gradscope.measure.measurement import Taken, measurement
from gradscope.measure.units import unit_activity
from gradscope.records import LayerAfter, Measurement
from gradscope.runs.preparing import Prepared


def measured_at(prepared: Prepared, weights: list[Any]) -> Measurement:
    """The flow of the gradient at other weights, and the units there."""
    measured = flow_at(prepared, weights)
    if not math.isfinite(measured.loss):
        return measured
    inputs = [replace(each, weights=weights) for each in prepared.inputs]
    return replace(measured, units=tuple(unit_activity(prepared.program, measured.layers, inputs)))


def flow_at(prepared: Prepared, weights: list[Any], known: Sample | None = None) -> Measurement:
    """The flow of the gradient at other weights, and nothing else; `known` is that of the first batch."""
    inputs = [replace(each, weights=weights) for each in prepared.inputs]
    found = weight_statistics(prepared.program, weights)
    samples = (
        [prepared.flow(each) for each in inputs]
        if known is None
        else [known, *(prepared.flow(each) for each in inputs[1:])]
    )
    return measurement(
        Taken(
            program=prepared.program,
            weights=found,
            nonfinite_weights=nonfinite_counts.in_weights(weights, found),
            nonfinite_inputs=(),
            origin=None,
            lost_infinity=None,
            unfound=(),
            nonfinite_gradients=None,
            samples=samples,
            updates=None,
            nonzero_after_steps={},
            optimizer_given=prepared.problem.optimizer is not None,
        )
    )


def layers_after(prepared: Prepared, weights: list[Any], first: Sample) -> Iterator[LayerAfter]:
    """Nothing where the loss there is not finite; `first` is that of the first batch."""
    measured = flow_at(prepared, weights, first)
    for layer in measured.layers if math.isfinite(measured.loss) else ():
        yield LayerAfter(
            layer=layer.name,
            activation_rms=layer.activation_rms,
            delta_rms=layer.delta_rms,
            gradient_rms=layer.gradient_rms,
            weight_rms=layer.weight_rms,
        )
