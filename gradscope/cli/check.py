"""`gradscope check TARGET`: the main job, and the gate of a CI job."""

from __future__ import annotations

import contextlib
import sys
from typing import Annotated

import typer

from gradscope import recording, rules
from gradscope.cli.delivery import SCREEN, Delivery
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
from gradscope.errors import GradscopeError

EPILOG = examples(
    "gradscope check model.py",
    "gradscope check model.py:tiny --batches 4 --batch-size 32",
    "gradscope check model.py --fail-on exploding-gradient,non-finite",
    "gradscope check model.py --format json --output report.json",
)

Target = Annotated[
    str,
    typer.Argument(
        metavar="TARGET",
        help="Your file with loss_fn, params and batch in it: model.py, model.py:name or "
        "package.module:name. It is run, as Python runs it.",
        show_default=False,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Cut batches of N rows from data().", show_default=False),
]
Batches = Annotated[int, typer.Option(min=1, metavar="N", help="Measure over N batches.")]
Seed = Annotated[int, typer.Option(metavar="N", help="Seed of init(key) and of the key of loss_fn.")]
Timeout = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", help="Give up on a file that takes longer to load.", show_default=False),
]
Select = Annotated[
    list[str] | None,
    typer.Option(metavar="RULE", help="Apply only these rules (repeat, or use commas).", show_default=False),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(metavar="RULE", help="Leave these rules out.", show_default=False),
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


def check(
    target: Target,
    batch_size: BatchSize = None,
    batches: Batches = 1,
    seed: Seed = 0,
    timeout: Timeout = None,
    select: Select = None,
    ignore: Ignore = None,
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
    if timeout is not None and not 0 < timeout < float("inf"):
        raise GradscopeError(
            f'"--timeout {timeout}" is no time to wait.', fix="Give seconds above 0.", slug="bad-option"
        )

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope import pipeline
    from gradscope.options import LoadOptions

    pipeline.prepare_process()
    from gradscope.cli.progress import StageLine

    # What the user's file prints must not end up inside the JSON.
    with contextlib.redirect_stdout(sys.stderr), StageLine(not (no_progress or quiet)) as progress:
        report = pipeline.check(
            target,
            LoadOptions(batch_size=batch_size, seed=seed, timeout=timeout),
            batches=batches,
            select=selected,
            ignore=ignored,
            progress=progress,
        )
    raise typer.Exit(delivery.deliver(recording.rounded(report), policy))


def known_rules(given: list[str] | None) -> tuple[str, ...]:
    """Names of rules that exist; for any other the error names the nearest."""
    return tuple(rules.get(name).name for name in names_in(given or ()))
