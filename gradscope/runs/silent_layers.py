"""Where layers get no gradient at all: the operations it ends in, and the places that the loss reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from gradscope.load.usercode.fault import Looks
from gradscope.measure.cleared import Cleared, cleared_inputs, without_input
from gradscope.measure.first_places import with_first_places
from gradscope.measure.gradient_ends import gradient_ends, without_gradient
from gradscope.records import GradientEnd, Measurement, Skipped
from gradscope.records.progress import Progress
from gradscope.runs.preparing import Prepared


def with_ends(
    prepared: Prepared, measurement: Measurement, progress: Progress
) -> tuple[Measurement, list[Skipped]]:
    progress("looking for where the gradient ends")
    program, inputs, looks = prepared.program, prepared.inputs[0], Looks()

    def found() -> Iterator[GradientEnd]:
        cleared = Cleared(program, inputs, prepared.batches[0])
        if dead := without_gradient(measurement.layers):
            yield from gradient_ends(program, dead, inputs, cleared)
        yield from cleared_inputs(program, without_input(measurement), cleared)

    ends = looks.listed("where the gradient ends", found)
    attentions = looks.taken(
        "places that the loss reads",
        lambda: with_first_places(measurement, program, prepared.attentions, inputs),
        measurement.attentions,
    )
    return replace(measurement, gradient_ends=tuple(ends), attentions=attentions), looks.failed
