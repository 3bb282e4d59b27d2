"""The gradient with respect to the inputs, as every format for people words it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradscope.records import AdversarialStep, InputGradient
from gradscope.report.shared import units
from gradscope.report.shared.table import Column, SmallTable

STRONG, NAMED = 0.05, 3
MEANING = "The gradient of the loss with respect to them."


def input_table(found: Sequence[InputGradient], step: AdversarialStep | None) -> SmallTable:
    columns = [
        Column(("", "features"), 1, [units.count(each.features) for each in found]),
        Column(("gradient", "rms"), 0, [units.cell(each.rms) for each in found]),
        Column(("", "ignored"), 0, [units.count(each.ignored_count) for each in found]),
        Column(("", "constant"), 3, [units.count(each.constant) if each.constant else "" for each in found]),
        Column(
            ("strongest, with their share", "of the squared gradient"),
            2,
            list(map(_strongest, found)),
            right=False,
        ),
    ]
    return SmallTable(
        "Inputs",
        "input",
        [each.name for each in found],
        columns,
        [-each.rms for each in found],
        MEANING,
        heading=f"Inputs: {MEANING[0].lower()}{MEANING[1:-1]}",
        said="" if step is None else step_sentence(step),
    )


def _strongest(found: InputGradient) -> str:
    """Only where there are several to choose from, and those with a share that counts."""
    if found.features < 2:
        return ""
    strong = [each for each in found.strongest if each.share >= STRONG]
    return ", ".join(f"{each.index} {units.share(each.share)}" for each in strong[:NAMED])


def step_sentence(found: AdversarialStep) -> str:
    size = f"{found.size:g} standard deviations"
    if not all(map(math.isfinite, (found.before, found.after, found.random))):
        return f"A step of {size} along the sign of the gradient gives a loss that is not finite."
    return (
        f"A step of {size} of every input along the sign of its gradient takes the loss from "
        f"{units.number(found.before)} to {units.number(found.after)}; along random signs to "
        f"{units.number(found.random)}."
    )
