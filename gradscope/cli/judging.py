"""The options that control how a target is measured and judged; a configuration has all of them, too."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope import config, rules
from gradscope.cli import completion
from gradscope.cli.baselines import Baseline, Seeds
from gradscope.cli.loading import Given
from gradscope.cli.options import FailOn, names_in, one_of, policy, sizes_in
from gradscope.records.options import PRECISIONS

Batches = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Number of batches to measure.", show_default="1")
]
Select = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULE",
        help="Apply only these rules (repeat, or separate with commas).",
        show_default="all rules",
        autocompletion=completion.rule_list,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULE",
        help="Do not apply these rules (repeat, or separate with commas).",
        show_default=False,
        autocompletion=completion.rule_list,
    ),
]
Verify = Annotated[
    bool | None,
    typer.Option(
        "--verify/--no-verify",
        help="Also verify the gradients, as `gradscope verify` does.",
        show_default="--no-verify",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Steps of the short training; 0 for none.",
        show_default="20, fewer for a large model",
    ),
]
AfterSteps = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Measure after this many steps of the optimizer.",
        show_default="0",
    ),
]
Histograms = Annotated[
    bool | None,
    typer.Option(
        "--histograms/--no-histograms",
        help="Also measure histograms of weights and gradients, which --report html=FILE draws.",
        show_default="--no-histograms",
    ),
]
ThroughTime = Annotated[
    bool | None,
    typer.Option(
        "--through-time/--no-through-time",
        help="Also follow the gradient through the steps of loops over time.",
        show_default="--no-through-time",
    ),
]
InputGradients = Annotated[
    bool | None,
    typer.Option(
        "--inputs/--no-inputs",
        help="Also measure the gradient with respect to the inputs: what is ignored, and a small adversarial "
        "step.",
        show_default="--no-inputs",
    ),
]
WhatIf = Annotated[
    str | None,
    typer.Option(
        metavar="|".join(PRECISIONS),
        help="Also compare with the program rounded to this precision: gradients that turn, δ that falls "
        "below its range, the loss scale that helps.",
        show_default=False,
    ),
]
Replicas = Annotated[
    bool | None,
    typer.Option(
        "--replicas/--no-replicas",
        help="Also take the gradient of the rows of each replica of a mesh, with two backward passes for "
        "each: how far they agree, and the gradient noise scale.",
        show_default="--no-replicas",
    ),
]
OverfitBatch = Annotated[
    bool | None,
    typer.Option(
        "--overfit-batch/--no-overfit-batch",
        help="Also train on the first batch alone, again and again: a network that can learn fits it almost "
        "exactly.",
        show_default="--no-overfit-batch",
    ),
]
Truncate = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="K",
        help="Also measure what is lost where backpropagation through time is cut every K steps.",
        show_default=False,
    ),
]

Widths = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Also train a few steps at these widths of the network, for a TARGET with init(key, width) or "
        "model(width): does a learning rate hold at other widths.",
        show_default=False,
    ),
]


def given_judging(
    batches: Batches = None,
    seeds: Seeds = None,
    select: Select = None,
    ignore: Ignore = None,
    verify: Verify = None,
    steps: Steps = None,
    after_steps: AfterSteps = None,
    histograms: Histograms = None,
    through_time: ThroughTime = None,
    inputs: InputGradients = None,
    what_if: WhatIf = None,
    replicas: Replicas = None,
    overfit_batch: OverfitBatch = None,
    truncate: Truncate = None,
    widths: Widths = None,
    baseline: Baseline = None,
    fail_on: FailOn = None,
) -> Given:
    """The options that were given, checked, by the keys of a configuration. For `groups.with_options`."""
    options: dict[str, config.Value] = {
        "batches": batches,
        "seeds": seeds,
        "select": known_rules(select) or None,
        "ignore": known_rules(ignore) or None,
        "verify": verify,
        "steps": steps,
        "after-steps": after_steps,
        "histograms": histograms,
        "through-time": through_time,
        "inputs": inputs,
        "what-if": None if what_if is None else one_of("--what-if", what_if, PRECISIONS),
        "replicas": replicas,
        "overfit-batch": overfit_batch,
        "truncate": truncate,
        "widths": sizes_in("--widths", widths) or None,
        "baseline": baseline,
        "fail-on": None if fail_on is None else policy(fail_on).fail_on,
    }
    return {name: value for name, value in options.items() if value is not None}


def known_rules(given: list[str] | None) -> tuple[str, ...]:
    """Names of rules that exist; for any other the error names the nearest."""
    return tuple(rules.get(name).name for name in names_in(given or ()))
