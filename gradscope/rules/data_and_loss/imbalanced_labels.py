"""Nearly all labels are of one class: an answer that is always the same looks good.

## What it does
Tells the share of the most frequent class where nearly all labels are of it, and what an answer scores that
looks at no input.

## Why is this bad
A loss that falls to the entropy of the frequencies has learned the frequencies and nothing else, and an
accuracy of 97 % is that of a constant where 97 % of the labels are one class. The gradient of the rare class
is a small part of that of a batch, and many batches may hold none of it.

## How it is measured
By counting, in up to eight batches: arrays with one integer for each row, or with 0 and 1, that choose among
outputs; not where the loss reads other numbers as well (rewards, times, targets), since the integers are then
actions, tasks or events. The entropy of the frequencies is the smallest cross-entropy of any answer that is
the same for all rows.

## Limits
`share = 0.9`: of the most frequent class. `rows = 64`: in all batches together; of fewer nothing is said.
Sources: choices. A note: rare events can be told from the others, and their frequency may be that of the
world.

## Example
    accuracy = jnp.mean(jnp.argmax(logits, -1) == labels)      # 0.97, as for `jnp.zeros`

Use instead a measure that a constant fails, and weigh the classes:

    recall = jnp.mean(jnp.argmax(logits, -1)[labels == 1] == 1)
    loss = jnp.mean(weights[labels] * cross_entropy)

## What it does not say
Whether the network tells the rare class apart. Labels of single tokens or pixels are not counted, and labels
of which all are one class are `constant-data`.

## Source
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems*, arXiv:1910.11015 (unbalanced
training data); Karpathy 2019, *A Recipe for Training Neural Networks* (initialize the last bias by the
frequencies); He and Garcia 2009, *Learning from Imbalanced Data*.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule(
    "imbalanced-labels",
    severity=Severity.NOTE,
    needs=("training",),
    single_seed_suffices=True,
    share=0.9,
    rows=64.0,
)
def imbalanced_labels(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    for found in training.shares:
        if found.classes < 2 or found.share < limits["share"] or found.rows < limits["rows"]:
            continue
        batches = "" if found.batches == 1 else f" of {found.batches} batches"
        yield Hit(
            message=(
                f"{number(100 * found.share)} % of the {found.rows:,} labels `{found.name}`{batches} are "
                f"{number(found.value)}: to answer that always is right as often, and the frequencies alone "
                f"give a cross-entropy of {number(found.entropy)}."
            ),
            remedy=(
                "Judge by a measure that a constant answer fails (recall of each class); weigh the classes "
                "in the loss or draw the rare ones more often."
            ),
            evidence={
                "share": found.share,
                "rows": found.rows,
                "classes": found.classes,
                "entropy": found.entropy,
                "limit": limits["share"],
            },
            layers=training.layers,
        )
