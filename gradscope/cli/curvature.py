"""`gradscope curvature TARGET`: eigenvalues of the Hessian, and where the learning rate stands to them."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope.cli.configured import Configured, configured_file
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.groups import with_options
from gradscope.cli.loading import Given, Target, given_loading
from gradscope.cli.options import FailOn, examples, policy, seconds_in, source_of
from gradscope.errors import ExitCode
from gradscope.records import Suite
from gradscope.records.options import CurvatureOptions
from gradscope.serialization import report_json

EPILOG = examples(
    "gradscope curvature model.py",
    "gradscope curvature model.py --batches 8 --budget 2m",
    "gradscope curvature model.py --fail-on unstable-learning-rate",
    "gradscope curvature model.py --params checkpoint.npz --report html=curvature.html",
)
MAIN = (
    "--batches", "--budget", "--no-layers", "--data", "--batch-size", "--params", "--fail-on", "--report",
)  # fmt: skip
Batches = Annotated[
    int, typer.Option("--batches", min=1, metavar="N", help="Look at the mean loss of so many batches.")
]
Budget = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="About so much time for products with the Hessian, for instance 60s or 5m: more of it finds the "
        "eigenvalues of large networks more closely, and those of more layers.",
        show_default="10s",
    ),
]
NoLayers = Annotated[bool, typer.Option("--no-layers", help="Leave out the sharpness of each layer.")]


@with_options(loading=given_loading, configuration=configured_file, delivery=delivery_options)
def curvature(
    target: Target,
    loading: Given,
    configuration: Configured,
    delivery: Delivery,
    batches: Batches = 1,
    budget: Budget = None,
    no_layers: NoLayers = False,
    fail_on: FailOn = None,
) -> None:
    """Show how the loss bends: the largest stable learning rate, sharpness by layer, minimum or saddle."""
    delivery.prepare(source_of(target))
    policed = policy(fail_on)
    options = CurvatureOptions(batches, seconds_in(budget), layers=not no_layers)
    (task,) = configuration.plan(loading, [target]).tasks

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope.processes import prepare
    from gradscope.runs.curvature import curvature as run_curvature

    prepare.prepare_process()
    with delivery.judging(task.target, policed) as progress:
        report = run_curvature(target, task.loading, options, progress=progress)
    code = delivery.deliver(Suite.of(report_json.rounded(report), policed))
    complete = report.curvature is None or report.curvature.complete
    raise typer.Exit(code if complete else ExitCode.INTERRUPTED)
