"""`gradscope cost TARGET`: operations and seconds of a training step by layer, and how both grow."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from gradscope.cli import completion
from gradscope.cli.configured import Configured, configured_file
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.groups import with_options
from gradscope.cli.loading import Given, Shapes, Target, given_layouts, other_meshes
from gradscope.cli.options import GATE, examples, policy, sizes_in, source_of
from gradscope.errors import ExitCode, GradscopeError
from gradscope.records import Policy, Suite
from gradscope.records.options import CostOptions
from gradscope.serialization import report_json

EPILOG = examples(
    "gradscope cost model.py",
    "gradscope cost model.py --widths 64,128,256 --depths 2,4,8",
    "gradscope cost model.py --no-time --fail-on cost:2TFLOP",
    "gradscope cost model.py --shapes --mesh data=8 --mesh fsdp=8 --mesh data=4,model=2",
    "gradscope cost model.py --report html=cost.html",
)
MAIN = (
    "--widths", "--depths", "--no-time", "--data", "--batch-size", "--mesh",
    "--fail-on", "--report",
)  # fmt: skip
GATED = "cost:"
RULE = "cost-over-limit"
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}

Widths = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Look at these widths of the network, too, for a TARGET with init(key, width) or model(width).",
        show_default=False,
    ),
]
Depths = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Look at these depths of the network, too, for a TARGET with init(key, depth) or model(depth).",
        show_default=False,
    ),
]
NoTime = Annotated[
    bool,
    typer.Option(
        "--no-time",
        help="Count only: nothing of the step is run, and nothing is compiled but, on a mesh, the step that "
        "tells what devices send each other.",
    ),
]
Whole = Annotated[
    bool,
    typer.Option(
        "--whole",
        help="Compile loss and gradient as one program, as a training does, also where that takes long; "
        "otherwise those of more than 600 equations are compiled in blocks.",
    ),
]
NoGrowth = Annotated[bool, typer.Option("--no-growth", help="Leave out other batches and lengths.")]
FailOnCost = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="POLICY",
        help="Exit with code 1 if any of these is found: cost:2TFLOP (a step computes more), severities, "
        "names of rules, separated by commas; or never.",
        show_default="error",
        rich_help_panel=GATE,
        autocompletion=completion.policy,
    ),
]


@with_options(loading=given_layouts, configuration=configured_file, delivery=delivery_options)
def cost(
    target: Target,
    loading: Given,
    configuration: Configured,
    delivery: Delivery,
    widths: Widths = None,
    depths: Depths = None,
    no_time: NoTime = False,
    no_growth: NoGrowth = False,
    whole: Whole = False,
    shapes: Shapes = False,
    fail_on: FailOnCost = None,
) -> None:
    """Show what a training step computes, layer by layer: operations, time, and how they grow."""
    delivery.prepare(source_of(target))
    limit, policed = gate_of(fail_on)
    options = CostOptions(
        limit,
        sizes_in("--widths", widths),
        sizes_in("--depths", depths),
        time=not (no_time or shapes),
        growth=not no_growth,
        whole=whole,
        meshes=other_meshes(loading),
    )
    (task,) = configuration.plan(loading, [target]).tasks

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope.processes import prepare
    from gradscope.runs.cost import cost as run_cost

    prepare.prepare_process()
    with delivery.judging(task.target, policed) as progress:
        report = run_cost(target, replace(task.loading, shapes=shapes), options, progress=progress)
    code = delivery.deliver(Suite.of(report_json.rounded(report), policed))
    complete = report.cost is None or report.cost.complete
    raise typer.Exit(code if complete else ExitCode.INTERRUPTED)


def gate_of(fail_on: str | None) -> tuple[float | None, Policy]:
    """The operations that `cost:2TFLOP` names, and the policy with its rule in the place of it."""
    if fail_on is None:
        return None, policy(None)
    parts = [part.strip() for part in fail_on.split(",")]
    limits = [part.removeprefix(GATED) for part in parts if part.startswith(GATED)]
    if len(limits) > 1:
        raise GradscopeError(
            f'"--fail-on {fail_on}" names two limits.', fix="Give one of them.", slug="bad-option"
        )
    named = [RULE if part.startswith(GATED) else part for part in parts]
    return (operations_in(limits[0]) if limits else None), policy(",".join(named))


def operations_in(text: str) -> float:
    """`2TFLOP`, `500 MFLOP`, `1e12` as a number."""
    number = text.strip().upper().removesuffix("S").removesuffix("FLOP").strip()
    unit = number[-1:] if number[-1:] in UNITS else ""
    try:
        value = float(number.removesuffix(unit)) * UNITS[unit]
    except ValueError:
        value = 0.0
    if not 1 <= value < 1e30:
        raise GradscopeError(
            f'"--fail-on {GATED}{text}" names no number of operations.',
            fix="Write cost:2TFLOP, cost:500GFLOP or cost:1e12.",
            slug="bad-option",
        )
    return value
