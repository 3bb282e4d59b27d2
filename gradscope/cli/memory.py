"""`gradscope memory TARGET`: what the backward pass keeps, what checkpointing saves, which batch fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from gradscope.cli import completion
from gradscope.cli.configured import Configured, configured_file
from gradscope.cli.delivery import Delivery, delivery_options
from gradscope.cli.groups import with_options
from gradscope.cli.loading import Given, Shapes, Target, given_loading
from gradscope.cli.options import GATE, examples, policy, source_of
from gradscope.errors import ExitCode, GradscopeError
from gradscope.records import Policy, Suite
from gradscope.records.options import MemoryOptions
from gradscope.serialization import report_json

EPILOG = examples(
    "gradscope memory model.py",
    "gradscope memory model.py --limit 16GiB",
    "gradscope memory model.py --no-checkpoints --fail-on memory:8GiB",
    "gradscope memory model.py --shapes --mesh data=4,model=2",
    "gradscope memory model.py --report html=memory.html",
)
MAIN = (
    "--limit",
    "--no-checkpoints",
    "--data",
    "--batch-size",
    "--fail-on",
    "--format",
    "--report",
    "--save",
)
GATED = "memory:"
RULE = "memory-over-limit"
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "K": 2**10, "M": 2**20, "G": 2**30}

Limit = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Look for the largest batch whose step stays below this, for instance 16GiB; a step above it "
        "is an error.",
        show_default=False,
    ),
]
NoCheckpoints = Annotated[
    bool,
    typer.Option("--no-checkpoints", help="Do not try gradient checkpointing, which compiles more programs."),
]
FailOnSize = Annotated[
    str | None,
    typer.Option(
        "--fail-on",
        metavar="POLICY",
        help="Exit with code 1 if any of these is found: memory:8GiB (a step takes more), severities, names "
        "of rules, separated by commas; or never.",
        show_default="error",
        rich_help_panel=GATE,
        autocompletion=completion.policy,
    ),
]


@with_options(loading=given_loading, configuration=configured_file, delivery=delivery_options)
def memory(
    target: Target,
    loading: Given,
    configuration: Configured,
    delivery: Delivery,
    limit: Limit = None,
    no_checkpoints: NoCheckpoints = False,
    shapes: Shapes = False,
    fail_on: FailOnSize = None,
) -> None:
    """Show what the backward pass keeps, by layer and line; what checkpointing saves; which batch fits."""
    delivery.prepare(source_of(target))
    gate, policed = gate_of(fail_on)
    options = MemoryOptions(
        None if limit is None else bytes_in("--limit", limit), gate, checkpoints=not no_checkpoints
    )
    if gate is not None and options.limit not in (None, gate):
        raise GradscopeError(
            "--limit and --fail-on memory: name two sizes.",
            why="A step above either would be the same error.",
            fix="Give one of them.",
            slug="bad-option",
        )
    (task,) = configuration.plan(loading, [target]).tasks

    # Imported once every option is known to be right: the other commands start without them.
    from gradscope.processes import prepare
    from gradscope.runs.memory import memory as run_memory

    prepare.prepare_process()
    with delivery.judging(task.target, policed) as progress:
        report = run_memory(target, replace(task.loading, shapes=shapes), options, progress=progress)
    code = delivery.deliver(Suite.of(report_json.rounded(report), policed))
    complete = report.memory is None or report.memory.complete
    raise typer.Exit(code if complete else ExitCode.INTERRUPTED)


def gate_of(fail_on: str | None) -> tuple[int | None, Policy]:
    """The size that `memory:8GiB` names, and the policy with its rule in the place of it."""
    if fail_on is None:
        return None, policy(None)
    parts = [part.strip() for part in fail_on.split(",")]
    sizes = [part.removeprefix(GATED) for part in parts if part.startswith(GATED)]
    if len(sizes) > 1:
        raise GradscopeError(
            f'"--fail-on {fail_on}" names two sizes.', fix="Give one of them.", slug="bad-option"
        )
    named = [RULE if part.startswith(GATED) else part for part in parts]
    return (bytes_in("--fail-on memory:", sizes[0]) if sizes else None), policy(",".join(named))


def bytes_in(option: str, text: str) -> int:
    """`16GiB`, `8GB`, `500M`, `1e9` as bytes."""
    number = text.strip().upper()
    unit = next((each for each in sorted(UNITS, key=len, reverse=True) if number.endswith(each)), "")
    try:
        value = float(number.removesuffix(unit)) * UNITS.get(unit, 1)
    except ValueError:
        value = 0.0
    if not 1 <= value < 2**63:
        raise GradscopeError(
            f'"{option} {text}" is not a size.', fix="Write 16GiB, 500MiB or 8GB.", slug="bad-option"
        )
    return int(value)
