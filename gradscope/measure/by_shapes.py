"""What is known of a program before any number is: its parameters, how they reach the loss, its summands."""

from __future__ import annotations

import math
from typing import Any

from gradscope.measure.dealt_rows import shared_noise, splits_of, summed_losses
from gradscope.measure.objective import pairings
from gradscope.records import Layer, Measurement, Objective, Parameter
from gradscope.trace.loss_terms import loss_terms
from gradscope.trace.program import Inputs, Program

NAN = math.nan
STRUCTURAL = (
    "disconnected-parameter",
    "blocked-gradient",
    "dead-loss-term",
    "broadcast-loss",
    "summed-loss",
    "shared-noise",
)
"""The rules that judge by the program alone."""


def structure(program: Program, inputs: Inputs, batch: Any) -> Measurement:
    """With NaN for every number; for the rules that read none."""
    owners = {leaf: group.name for group in program.layers for leaf in group.leaves}
    named = list(enumerate(program.leaves))
    return Measurement(
        loss=NAN,
        layers=tuple(
            Layer(
                name=group.name,
                parameters=tuple(program.leaves[leaf].name for leaf in group.leaves),
                size=sum(program.leaves[leaf].size for leaf in group.leaves),
                source=source,
                weight_rms=NAN,
                gradient_rms=NAN,
                gradient_norm=NAN,
                gradient_max=NAN,
                gradient_zero_share=None,
                gradient_nonfinite_share=None,
            )
            for group, source in zip(program.layers, program.sources, strict=True)
        ),
        parameters=tuple(
            Parameter(
                name=about.name,
                layer=owners[leaf],
                shape=about.shape,
                dtype=about.dtype,
                size=about.size,
                connection=program.connections[leaf],
                weight_rms=NAN,
                weight_nonfinite=0,
                gradient_rms=NAN,
                gradient_norm=NAN,
                gradient_max=NAN,
                cuts=program.cuts[leaf],
            )
            for leaf, about in named
        ),
        unseen=program.unseen,
        terms=tuple(loss_terms(program)),
        objective=Objective(example_pairings=pairings(program, batch)),
        summed_losses=tuple(summed_losses(program, batch, inputs)),
        shared_noise=tuple(shared_noise(splits_of(program, inputs, batch))),
    )
