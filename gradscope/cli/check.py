"""`gradscope check TARGET`: the main job, and the gate of a CI job."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from gradscope import recording, rules
from gradscope.cli.delivery import SCREEN, Delivery
from gradscope.cli.loading import Target, with_load_options
from gradscope.cli.options import (
    RENDERING,
    Color,
    ColorMode,
    FailOn,
    Format,
    Output,
    Quiet,
    ShowAll,
    examples,
    names_in,
)
from gradscope.options import LoadOptions

EPILOG = examples(
    "gradscope check model.py",
    "gradscope check model.py:tiny --batches 4 --batch-size 32",
    "gradscope check model.py --fail-on exploding-gradient,non-finite",
    "gradscope check model.py --format json --output report.json",
)

Batches = Annotated[int, typer.Option(min=1, metavar="N", help="Measure over N batches.")]
Select = Annotated[
    list[str] | None,
    typer.Option(metavar="RULE", help="Apply only these rules (repeat, or use commas).", show_default=False),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(metavar="RULE", help="Leave these rules out.", show_default=False),
]
Verify = Annotated[
    bool,
    typer.Option("--verify", metavar="", help="Verify the gradients, too, as `gradscope verify` does."),
]
Save = Annotated[
    str | None,
    typer.Option(
        metavar="RUN.json",
        help="Keep the run, for `gradscope report`.",
        show_default=False,
        rich_help_panel=RENDERING,
    ),
]
NoProgress = Annotated[
    bool,
    typer.Option(
        "--no-progress", metavar="", help="No line that says what is being done.", rich_help_panel=RENDERING
    ),
]


@with_load_options
def check(
    target: Target,
    loading: LoadOptions,
    batches: Batches = 1,
    select: Select = None,
    ignore: Ignore = None,
    verify: Verify = False,
    fail_on: FailOn = "error",
    format: Format = "terminal",
    output: Output = SCREEN,
    save: Save = None,
    show_all: ShowAll = False,
    color: ColorMode = Color.AUTO,
    no_progress: NoProgress = False,
    quiet: Quiet = False,
) -> None:
    """Tell why a network does not learn: at which layer, at which line, and what to do."""
    delivery = Delivery(format, output, fail_on, show_all, color, quiet, save)
    policy = delivery.prepare(target.rpartition(":")[0] or target)
    selected, ignored = known_rules(select), known_rules(ignore)

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope import pipeline

    pipeline.prepare_process()
    from gradscope.cli.progress import StageLine

    # What the user's file prints must not end up inside the JSON.
    with contextlib.redirect_stdout(sys.stderr), StageLine(not (no_progress or quiet)) as progress:
        report = pipeline.check(
            target,
            loading,
            batches=batches,
            select=selected,
            ignore=ignored,
            verified=verify,
            progress=progress,
        )
    raise typer.Exit(delivery.deliver(recording.rounded(report), policy))


def known_rules(given: list[str] | None) -> tuple[str, ...]:
    """Names of rules that exist; for any other the error names the nearest."""
    return tuple(rules.get(name).name for name in names_in(given or ()))
