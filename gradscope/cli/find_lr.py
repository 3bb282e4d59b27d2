"""`gradscope find-lr TARGET`: the learning-rate range test on the user's own model."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.failure import interruption_shown
from gradscope.cli.groups import with_options
from gradscope.cli.loading import Target, load_options
from gradscope.cli.options import examples, source_of
from gradscope.records import Policy, Suite
from gradscope.records.options import LoadOptions
from gradscope.serialization import report_json

EPILOG = examples(
    "gradscope find-lr model.py",
    "gradscope find-lr model.py --optimizer adam --seeds 9",
    "gradscope find-lr model.py --report html=rates.html",
)
MAIN = ("--optimizer", "--seeds", "--steps", "--data", "--batch-size", "--loss", "--report")

Optimizer = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Optimizer: a name in optax, optax.contrib or the candidates of TARGET.",
        show_default="optimizer of TARGET, or adam",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Repeat with N seeds, starting at --seed; the suggestion is the median over them.",
        show_default="5",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Number of training steps; the learning rate rises over eight decades.",
        show_default="100",
    ),
]


@with_options(loading=load_options, delivery=delivery_options)
def find_lr(
    target: Target,
    loading: LoadOptions,
    delivery: Delivery,
    optimizer: Optimizer = None,
    seeds: Seeds = None,
    steps: Steps = None,
) -> None:
    """Suggest a learning rate by a range test: it rises exponentially until the loss does, for each seed."""
    delivery.prepare(source_of(target))

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope.processes import prepare
    from gradscope.runs.optimizers import find_lr as run_find_lr

    prepare.prepare_process()
    with interruption_shown(), delivery.judging(target, Policy()) as progress:
        report = run_find_lr(
            target, loading, optimizer=optimizer, seeds=seeds, steps=steps, progress=progress
        )
    raise typer.Exit(delivery.deliver(Suite.of(report_json.rounded(report))))
