"""`gradscope verify TARGET`: whether the gradient of each parameter is right."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope.cli.configured import Configured, configured_file
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.groups import with_options
from gradscope.cli.loading import Given, Target, given_loading
from gradscope.cli.options import FailOn, examples, policy, source_of
from gradscope.records import Suite
from gradscope.serialization import report_json

EPILOG = examples(
    "gradscope verify model.py",
    "gradscope verify model.py --per-element 10",
    "gradscope verify model.py --fail-on wrong-gradient,unverifiable-gradient",
)

MAIN = (
    "--directions",
    "--per-element",
    "--data",
    "--batch-size",
    "--fail-on",
    "--format",
    "--report",
    "--save",
)
Directions = Annotated[
    int, typer.Option(min=1, metavar="N", help="Number of random directions to test in each parameter leaf.")
]
PerElement = Annotated[
    int,
    typer.Option(min=0, metavar="N", help="Also test N random elements of each leaf one by one."),
]


@with_options(loading=given_loading, configuration=configured_file, delivery=delivery_options)
def verify(
    target: Target,
    loading: Given,
    configuration: Configured,
    delivery: Delivery,
    directions: Directions = 2,
    per_element: PerElement = 0,
    fail_on: FailOn = None,
) -> None:
    """Verify gradients: each parameter against finite differences, each custom derivative rule by itself."""
    delivery.prepare(source_of(target))
    # What the gate of `check` fails on may leave out wrong gradients: only how it is loaded is taken over.
    policed = policy(fail_on)
    (task,) = configuration.plan(loading, [target]).tasks

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope.processes import prepare
    from gradscope.runs.verify import verify as run_verify

    prepare.prepare_process()
    with delivery.judging(task.target, policed) as progress:
        report = run_verify(
            target, task.loading, directions=directions, per_element=per_element, progress=progress
        )
    raise typer.Exit(delivery.deliver(Suite.of(report_json.rounded(report), policed)))
