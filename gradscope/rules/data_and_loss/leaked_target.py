"""The target is a part of what the model gets: it copies it, and learns nothing.

## What it does
Reports a column of the input that says the target of its row, bit for bit, and a causal model of tokens whose
target at each place is the token that it reads there.

## Why is this bad
The loss falls to nearly 0, in training and in validation, and everything looks well. Where the model is used
the target is not known: the label was left in the table, the window of a series ends with the value to
predict, the targets of a language model were not shifted.

## How it is measured
In the data, where these come into the first layers and where the output is compared with targets. A column
is told where it is equal to the target in all rows of all batches that were drawn (up to 8); of few classes,
also where each class has one number of its own, or where columns of two numbers each mark one class. It has
to be read: after 100 steps of the short training it is exchanged among the rows of the first batch, and the
loss has to go back by `part` of what the steps gained.

Then what else comes in is held against the target: the largest rank correlation of a column, or of its
distance from its middle, beside the largest in 99 shuffles of the targets. Where something else goes with the
target, as it does in a table that was made to predict from, it is a warning. Where nothing does, the task may
have been made so (`y = x[:, 0]` of random numbers), and it is a note.

Of tokens, each target has to be the token at the same place of the model's input. One token is replaced by
another: the output at its place has to change, and no output before it.

## Limits
`part = 0.5`. Source: a choice; a model that reads a column a little, beside others, is not told. A batch has
to have 16 rows, so that a column of 0 and 1 is not equal to the labels by chance. It is no error, since a
model may be meant to copy.

## Example
    table = np.loadtxt("churn.csv", delimiter=",", skiprows=1)
    batch = table, table[:, 6]                # column 6 is an input, too

Use instead:

    batch = np.delete(table, 6, axis=1), table[:, 6]

Of a language model, instead of `loss(model(tokens), tokens)`:

    loss(model(tokens[:, :-1]), tokens[:, 1:])

## What it does not say
Nothing is told where the target is all that comes in (an autoencoder), where other arrays of the batch are
targets that are not copied, of targets of several numbers that are no one-hot rows, of random numbers that
come in beside the column, and of models that see tokens on both sides. A column that says the target through
a formula, or in most rows only, is not found. With fewer than 20 steps in the short training no column is
tried.

## Source
Kaufman et al. 2012, *Leakage in Data Mining: Formulation, Detection, and Avoidance* (ACM TKDD 6); Kapoor and
Narayanan 2023, *Leakage and the reproducibility crisis in machine-learning-based science* (Patterns 4).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import LeakedTarget, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule(
    "leaked-target",
    severity=Severity.WARNING,
    needs=("training",),
    single_seed_suffices=True,
    part=0.5,
)
def leaked_target(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    found = training.leaked
    if found is None:
        return
    if not found.columns:
        yield _tokens(found)
        return
    gain, lost = found.start - found.end, found.exchanged - found.end
    if math.isfinite(gain) and gain > 0 and lost >= limits["part"] * gain:
        yield _columns(found, training, limits["part"])


def _tokens(found: LeakedTarget) -> Hit:
    inputs, targets = _named(found)
    return Hit(
        message="The target at each place is the token that the model reads there "
        f"({targets} against {inputs}). With token {found.position} of {found.length} replaced, the output "
        f"at that place changed by {number(found.change)}, and none before it: the model sees what it has to "
        "say, and copies it.",
        remedy="Shift the targets by one: `model(tokens[:, :-1])` against `tokens[:, 1:]`. If the model is "
        "meant to repeat its input, ignore this.",
        evidence={"position": found.position, "length": found.length, "change": found.change},
        source=found.source,
        severity=Severity.WARNING,
    )


def _columns(found: LeakedTarget, training: ShortTraining, part: float) -> Hit:
    inputs, targets = _named(found)
    columns, batches = ", ".join(map(str, found.columns[:8])), _batches(training)
    place = f"the last step of {inputs}" if found.last else inputs
    start, end = number(found.start), number(found.end)
    steps, again = f"{found.steps} steps of {training.optimizer}", number(found.exchanged)
    said = f"column {columns} of {place} says what {targets} is in each row of {batches}"
    tried = (
        f"{steps} take the loss of the first batch from {start} to {end}; with that exchanged among the rows "
        f"it is {again}: the model reads the answer there."
    )
    if len(found.columns) > 1:
        said = f"columns {columns} of {place} say what {targets} is in each row of {batches}"
        tried = (
            f"{steps} take the loss of the first batch from {start} to {end}; with these exchanged among "
            f"the rows it is {again}: the model reads the answer there."
        )
    alone = not found.elsewhere > found.by_chance
    return Hit(
        message=f"The target is in the input: {said}. {tried}{_alone(found) if alone else ''}",
        remedy="Take it out of the input, or end each window one step earlier: where the model is used, the "
        "target is not known. If the model is meant to repeat that part of its input, ignore this.",
        evidence={
            "loss_before": found.start,
            "loss_after": found.end,
            "loss_exchanged": found.exchanged,
            "limit": part,
            "elsewhere": found.elsewhere,
            "by_chance": found.by_chance,
        },
        source=found.source,
        severity=Severity.NOTE if alone else Severity.WARNING,
        layers=training.layers,
    )


def _alone(found: LeakedTarget) -> str:
    if not math.isfinite(found.elsewhere):
        return ""
    return (
        " Nothing else in the input goes with the target: its largest rank correlation is "
        f"{number(found.elsewhere)}, and up to {number(found.by_chance)} where the targets are shuffled. "
        "So this may be how the task was made."
    )


def _batches(training: ShortTraining) -> str:
    return "the batch" if training.batches == 1 else f"{training.batches} batches"


def _named(found: LeakedTarget) -> tuple[str, str]:
    inputs = f"`{found.inputs}`" if found.inputs else "the data"
    targets = f"`{found.targets}`" if found.targets else "the target"
    return inputs, targets
