"""The short training of the same problem with some equations of its program exchanged."""

from __future__ import annotations

from dataclasses import replace

from gradscope.measure.flow import FlowPass
from gradscope.records import TriedVariant
from gradscope.trace.jaxprs import Body
from gradscope.training.how_many import steps_of_trial
from gradscope.training.trainer import Trainer


def tried_variant(made: Trainer, body: Body, steps: int) -> TriedVariant | None:
    """`body` is the program with something exchanged, and `steps` are those of the short training. `None`
    where too few are affordable to compare."""
    count = steps_of_trial(made.flow.program, steps)
    if count is None:
        return None
    program, batches = replace(made.flow.program.without_taps(""), body=body), made.feed.used(count)
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
