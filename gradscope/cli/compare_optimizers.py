"""`gradscope compare-optimizers TARGET`: optimizers measured on the user's own model."""

from __future__ import annotations

from collections.abc import Iterable
from time import perf_counter
from typing import Annotated

import typer

from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.failure import interruption_shown
from gradscope.cli.groups import with_options
from gradscope.cli.loading import Target, load_options
from gradscope.cli.options import examples, names_in, one_of, seconds_in, source_of
from gradscope.cli.regression import Against, FailOnRegression, parsed
from gradscope.errors import ExitCode, GradscopeError
from gradscope.records import Suite
from gradscope.records.options import SCHEDULES, VMAP, CompareOptions, LoadOptions
from gradscope.serialization import report_json

EPILOG = examples(
    "gradscope compare-optimizers model.py",
    "gradscope compare-optimizers model.py --optimizers adam,lion,muon --steps 500",
    "gradscope compare-optimizers model.py --budget 30s --save run.json",
    "gradscope compare-optimizers model.py --against run.json --fail-on regression:5%",
)
MAIN = (
    "--optimizers", "--steps", "--seeds", "--budget", "--data", "--batch-size", "--against", "--fail-on",
    "--report",
)  # fmt: skip
TUNING = "What is compared"
TRAINING = "Training"

Optimizers = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Optimizers to compare: names in optax, optax.contrib or the candidates of TARGET (repeat, or "
        "separate with commas).",
        show_default="sgd, momentum, nesterov, adam, adamw, rmsprop, adagrad",
        rich_help_panel=TUNING,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Training steps of each run.", show_default="200", rich_help_panel=TRAINING
    ),
]
Seeds = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Judge by N seeds, starting at --seed; every optimizer gets the same ones, and is tuned by two "
        "others.",
        show_default="5",
        rich_help_panel=TUNING,
    ),
]
Grid = Annotated[
    int | None,
    typer.Option(
        "--lr-grid",
        metavar="N",
        help="Number of learning rates to begin with for each optimizer, half a decade apart around its "
        "usual one; as many and two more settings follow around the best, up to 7, with its weight decay.",
        show_default="5",
        rich_help_panel=TUNING,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Limit on the time of the whole command, such as 60s or 5m: --steps, --lr-grid and --seeds are "
        "reduced to fit, unless they are set, and what is known by then is reported.",
        show_default="120s, and no limit where one of those is set",
        rich_help_panel=TUNING,
    ),
]
Goal = Annotated[
    float | None,
    typer.Option(
        "--target",
        metavar="LOSS",
        help="Loss to reach; the report has the steps and the time that each optimizer needs for it.",
        show_default="90% of the best improvement",
        rich_help_panel=TUNING,
    ),
]
Schedule = Annotated[
    str,
    typer.Option(metavar="|".join(SCHEDULES), help="Learning-rate schedule.", rich_help_panel=TRAINING),
]
Clip = Annotated[
    float | None,
    typer.Option(
        metavar="NORM",
        help="Clip the gradients to this global norm.",
        show_default="no clipping",
        rich_help_panel=TRAINING,
    ),
]
Exhaustive = Annotated[
    bool,
    typer.Option(
        "--exhaustive",
        help="Train every learning rate for all steps; do not stop the worse half early.",
        rich_help_panel=TUNING,
    ),
]
Vmap = Annotated[
    str,
    typer.Option(
        metavar="|".join(VMAP),
        help="Whether to train all runs of an optimizer at once, with jax.vmap.",
        rich_help_panel=TRAINING,
    ),
]
Updates = Annotated[
    bool,
    typer.Option(
        "--updates",
        help="Measure the size of each layer's update and its angle to the negative gradient, at the start "
        "and at the end of training.",
        rich_help_panel=TRAINING,
    ),
]
Widths = Annotated[
    list[str] | None,
    typer.Option(
        metavar="N,N,...",
        help="Compare at these widths of the network, for a TARGET with init(key, width) or model(width): "
        "does the best learning rate move, does the gain hold.",
        show_default="the network as it is",
        rich_help_panel=TUNING,
    ),
]
Starts = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="Train the best optimizer from N starts, 2 or more, and compare where it ends: losses, "
        "distances, the loss on the line between two ends.",
        show_default="none",
        rich_help_panel=TRAINING,
    ),
]


@with_options(loading=load_options, delivery=delivery_options)
def compare_optimizers(
    target: Target,
    loading: LoadOptions,
    delivery: Delivery,
    optimizers: Optimizers = None,
    steps: Steps = None,
    seeds: Seeds = None,
    grid: Grid = None,
    budget: Budget = None,
    goal: Goal = None,
    schedule: Schedule = "constant",
    clip: Clip = None,
    exhaustive: Exhaustive = False,
    vmap: Vmap = "auto",
    updates: Updates = False,
    widths: Widths = None,
    starts: Starts = 0,
    against: Against = None,
    fail_on: FailOnRegression = None,
) -> None:
    """Compare optimizers on your model: loss, time, memory, sensitivity to the learning rate."""
    begun = perf_counter()
    delivery.prepare(source_of(target))
    policed, limits, before = parsed(fail_on, against)
    terms = CompareOptions(
        optimizers=names_in(optimizers or ()),
        steps=steps,
        seeds=seeds,
        grid=grid,
        budget_s=seconds_in(budget),
        target=goal,
        schedule=one_of("--schedule", schedule, SCHEDULES),
        clip=_above_zero("--clip", clip),
        exhaustive=exhaustive,
        vmap=one_of("--vmap", vmap, VMAP),
        updates=updates,
        starts=_starts(starts),
        widths=_whole_numbers("--widths", widths or ()),
    )

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope.processes import prepare
    from gradscope.runs.optimizers import compare_optimizers as compare

    prepare.prepare_process()
    with interruption_shown(), delivery.judging(target, policed) as progress:
        report = compare(
            target, loading, terms, against=before, limits=limits, progress=progress, begun=begun
        )
    code = delivery.deliver(Suite.of(report_json.rounded(report), policed))
    found = report.optimizers
    if found is not None and not found.complete:
        if found.budget_spent_s is None:
            code = ExitCode.INTERRUPTED
        elif before is not None:  # A gate that could not be judged must not pass.
            code = max(code, ExitCode.NOT_JUDGED)
    raise typer.Exit(code)


def _starts(count: int) -> int:
    if count < 0 or count == 1:
        raise GradscopeError(
            f'"--starts {count}" compares nothing.', fix="Give 2 or more.", slug="bad-option"
        )
    return count


def _whole_numbers(option: str, values: Iterable[str]) -> tuple[int, ...]:
    names = names_in(values)
    if not all(name.isdecimal() and int(name) > 0 for name in names):
        raise GradscopeError(
            f'"{option} {",".join(names)}" is no list of whole numbers above 0.',
            fix=f"Give numbers with commas: {option} 64,128,256.",
            slug="bad-option",
        )
    return tuple(map(int, names))


def _above_zero(option: str, value: float | None) -> float | None:
    if value is not None and not 0 < value < float("inf"):
        raise GradscopeError(
            f'"{option} {value:g}" is not above zero.', fix="Give a number above 0.", slug="bad-option"
        )
    return value
