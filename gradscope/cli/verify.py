"""`gradscope verify TARGET`: is the gradient right, for each parameter."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from gradscope import recording
from gradscope.cli.check import NoProgress, Save
from gradscope.cli.delivery import SCREEN, Delivery
from gradscope.cli.loading import Target, with_load_options
from gradscope.cli.options import (
    Color,
    ColorMode,
    FailOn,
    Format,
    Output,
    Quiet,
    ShowAll,
    examples,
)
from gradscope.options import LoadOptions

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


@with_load_options
def verify(
    target: Target,
    loading: LoadOptions,
    directions: Directions = 2,
    per_element: PerElement = 0,
    fail_on: FailOn = "error",
    format: Format = "terminal",
    output: Output = SCREEN,
    save: Save = None,
    show_all: ShowAll = False,
    color: ColorMode = Color.AUTO,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
) -> None:
    """Tell whether the gradients are right: each parameter against differences, each custom rule alone."""
    delivery = Delivery(format, output, fail_on, show_all, color, quiet, save)
    policy = delivery.prepare(target.rpartition(":")[0] or target)

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope import pipeline, verifying

    pipeline.prepare_process()
    from gradscope.cli.progress import StageLine

    # What the user's file prints must not end up inside the JSON.
    with contextlib.redirect_stdout(sys.stderr), StageLine(not (no_progress or quiet)) as progress:
        report = verifying.verify(
            target, loading, directions=directions, per_element=per_element, progress=progress
        )
    raise typer.Exit(delivery.deliver(recording.rounded(report), policy))
