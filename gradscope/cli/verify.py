"""`gradscope verify TARGET`: is the gradient right, for each parameter."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope import recording
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.groups import with_options
from gradscope.cli.loading import Target, load_options
from gradscope.cli.options import FailOn, examples, policy, source_of
from gradscope.options import LoadOptions
from gradscope.records import Suite

EPILOG = examples(
    "gradscope verify model.py",
    "gradscope verify model.py --per-element 10",
    "gradscope verify model.py --fail-on wrong-gradient,unverifiable-gradient",
)

Directions = Annotated[
    int, typer.Option(min=1, metavar="N", help="Random directions tried in each parameter leaf.")
]
PerElement = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Check N random elements of each leaf by themselves, too."),
]


@with_options(loading=load_options, delivery=delivery_options)
def verify(
    target: Target,
    loading: LoadOptions,
    delivery: Delivery,
    directions: Directions = 2,
    per_element: PerElement = 0,
    fail_on: FailOn = "error",
) -> None:
    """Tell whether the gradients are right: each parameter against differences, each custom rule alone."""
    delivery.prepare(source_of(target))
    policed = policy(fail_on)

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope import pipeline, verifying

    pipeline.prepare_process()
    with delivery.working() as progress:
        report = verifying.verify(
            target, loading, directions=directions, per_element=per_element, progress=progress
        )
    raise typer.Exit(delivery.deliver(Suite.of(recording.rounded(report), policed)))
