"""`gradscope check TARGET`: the main job, and the gate of a CI job."""

from __future__ import annotations

from typing import Annotated

import typer

from gradscope import recording, rules
from gradscope.cli import completion
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.groups import with_options
from gradscope.cli.loading import Target, load_options
from gradscope.cli.options import FailOn, examples, names_in, policy, source_of
from gradscope.options import CheckOptions, LoadOptions
from gradscope.records import Suite

EPILOG = examples(
    "gradscope check model.py",
    "gradscope check model.py:tiny --batches 4 --batch-size 32",
    "gradscope check model.py --fail-on exploding-gradient,non-finite",
    "gradscope check model.py --format json --output report.json",
)

Batches = Annotated[int, typer.Option(min=1, metavar="N", help="Measure over N batches.")]
Select = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULE",
        help="Apply only these rules (repeat, or use commas).",
        show_default=False,
        autocompletion=completion.rule_list,
    ),
]
Ignore = Annotated[
    list[str] | None,
    typer.Option(
        metavar="RULE",
        help="Leave these rules out.",
        show_default=False,
        autocompletion=completion.rule_list,
    ),
]
Verify = Annotated[
    bool,
    typer.Option("--verify", metavar="", help="Verify the gradients, too, as `gradscope verify` does."),
]


@with_options(loading=load_options, delivery=delivery_options)
def check(
    target: Target,
    loading: LoadOptions,
    delivery: Delivery,
    batches: Batches = 1,
    select: Select = None,
    ignore: Ignore = None,
    verify: Verify = False,
    fail_on: FailOn = "error",
) -> None:
    """Tell why a network does not learn: at which layer, at which line, and what to do."""
    delivery.prepare(source_of(target))
    policed = policy(fail_on)
    checking = CheckOptions(
        batches=batches, select=known_rules(select), ignore=known_rules(ignore), verified=verify
    )

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope import pipeline

    pipeline.prepare_process()
    with delivery.working() as progress:
        report = pipeline.check(target, loading, checking, progress=progress)
    raise typer.Exit(delivery.deliver(Suite.of(recording.rounded(report), policed)))


def known_rules(given: list[str] | None) -> tuple[str, ...]:
    """Names of rules that exist; for any other the error names the nearest."""
    return tuple(rules.get(name).name for name in names_in(given or ()))
