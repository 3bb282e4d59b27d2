"""The short training of the same problem with some equations of its program exchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from gradscope.measure.flow import FlowPass
from gradscope.records import TriedVariant
from gradscope.trace.jaxprs.rewriting import with_functions
from gradscope.training.trainer import Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS

Functions = Mapping[int, Callable[..., Any]]
"""In the place of equations, by the `id` of each: from the operands to the one result."""


def tried_variant(made: Trainer, functions: Functions, steps: int) -> TriedVariant | None:
    """`steps` are those of the short
    training. `None` where too few were taken to compare."""
    if steps < USUAL_STEPS:
        return None
    program = made.flow.program.without_taps("")
    program = replace(program, body=with_functions(program.body, functions))
    count, batches = LONGER * steps, made.feed.used(steps)
    flow = FlowPass(program, made.feed.at(0, made.weights), runs=count)
    other = Trainer(flow, made.rule, made.feed, made.weights)
    there = other.run(count).weights
    return TriedVariant(
        steps=count,
        start_without=made.mean_loss(made.weights, batches)[0],
        end_without=made.mean_loss(made.unchanged(count), batches)[0],
        start=other.mean_loss(made.weights, batches)[0],
        end=other.mean_loss(there, batches)[0],
    )
