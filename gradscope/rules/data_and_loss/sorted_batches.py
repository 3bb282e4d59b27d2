"""The batches are not mixed: each holds few of the classes that all of them have.

## What it does
Counts the different labels in each batch of the short training and in all of them together, and reports an
array of labels that comes in runs.

## Why is this bad
Stochastic gradient descent takes a batch for a sample of the whole. Batches of one class after the other pull
the network to that class and away from the last one: the loss of each batch falls while the others rise, and
statistics that a BatchNorm keeps are those of one class.

## How it is measured
Exactly, on the batches that the training draws, up to 8 of them, and for arrays that choose among outputs.
What shuffled rows would give is computed from the shares of the classes: a class of share p is in a batch of
n rows with probability 1 - (1 - p)^n.

## Limits
`mixed = 0.5`: a batch has to hold this share of the different labels that shuffled rows have on average.
`batches = 5`: fewer batches tell nothing. Sources: choices.

## Example
    batches = [(x[i:i + 32], y[i:i + 32]) for i in range(0, len(x), 32)]     # sorted by y

Use instead:

    order = np.random.default_rng(0).permutation(len(x))
    batches = [(x[rows], y[rows]) for rows in np.split(order, len(x) // 32)]

## What it does not say
Data that are sorted in runs longer than the batches that were drawn show one class only, and are not seen.
Batches that are drawn class by class on purpose (few-shot tasks, contrastive sampling) look the same.

## Source
Bengio 2012, *Practical Recommendations for Gradient-Based Training of Deep Architectures*, section 3.1
(shuffling of examples); Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems*.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("sorted-batches", severity=Severity.WARNING, needs=("training",), mixed=0.5, batches=5.0)
def sorted_batches(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    for labels in training.labels:
        if labels.batches < limits["batches"] or labels.classes < 2:
            continue
        share = labels.in_a_batch / labels.expected
        if share >= limits["mixed"]:
            continue
        yield Hit(
            message=f"A batch holds {number(labels.in_a_batch)} different values of `{labels.name}` on "
            f"average, and {labels.batches} batches together hold {labels.classes}: shuffled rows would have "
            f"{number(labels.expected)} in each.",
            remedy="Shuffle the rows before they are cut into batches, anew in each epoch. Where each batch "
            "is a task of its own, nothing is to be done.",
            evidence={
                "in_a_batch": labels.in_a_batch,
                "expected": labels.expected,
                "classes": labels.classes,
                "batches": labels.batches,
                "limit": limits["mixed"],
            },
        )
