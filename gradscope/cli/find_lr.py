"""`gradscope find-lr TARGET`: the learning-rate range test on the user's own model."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from gradscope import gate, recording
from gradscope.cli.check import NoProgress, Save
from gradscope.cli.delivery import SCREEN, Delivery
from gradscope.cli.loading import Target, with_load_options
from gradscope.cli.options import Color, ColorMode, Format, Output, Quiet, ShowAll, examples
from gradscope.options import LoadOptions

EPILOG = examples("gradscope find-lr model.py", "gradscope find-lr model.py --optimizer adam --seeds 9")

Optimizer = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="A name of optax or optax.contrib, or of the file's candidates.",
        show_default="the file's optimizer, or adam",
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(metavar="N", help="The suggestion is their median.", show_default="5"),
]
Steps = Annotated[
    int | None,
    typer.Option(metavar="N", help="Steps of the ramp over eight decades.", show_default="100"),
]


@with_load_options
def find_lr(
    target: Target,
    loading: LoadOptions,
    optimizer: Optimizer = None,
    seeds: Seeds = None,
    steps: Steps = None,
    format: Format = "terminal",
    output: Output = SCREEN,
    save: Save = None,
    show_all: ShowAll = False,
    color: ColorMode = Color.AUTO,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
) -> None:
    """Suggest a learning rate: an exponential ramp from several seeds, and where the loss was lowest."""
    delivery = Delivery(format, output, gate.NEVER, show_all, color, quiet, save)
    policy = delivery.prepare(target.rpartition(":")[0] or target)

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope import comparing, pipeline

    pipeline.prepare_process()
    from gradscope.cli.progress import StageLine

    with contextlib.redirect_stdout(sys.stderr), StageLine(not (no_progress or quiet)) as progress:
        report = comparing.find_lr(
            target, loading, optimizer=optimizer, seeds=seeds, steps=steps, progress=progress
        )
    raise typer.Exit(delivery.deliver(recording.rounded(report), policy))
