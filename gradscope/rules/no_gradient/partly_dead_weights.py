"""Some units of a weight never get a gradient, although the rest of the weight does.

## What it does
Reports weights of hidden layers of which some units (columns of a matrix, channels, heads) have a gradient of
exactly 0, on all batches, before and after the short training, and whatever the weights are.

## Why is this bad
That part of the layer never learns: the loss does not depend on it. A slice that leaves a head out, a softmax
over a single position (its derivative is 0) below a projection that makes queries, keys and values at once, a
mask that is 0 for a block, or a width that does not fit the layer above are how it happens. The gradient of
the weight as a whole looks healthy.

## How it is measured
Where a gradient has columns of zeros, it is taken on up to four batches at the weights of the file, after the
short training, and then up to twelve times with all weights of the network drawn anew, half of them with a
batch that is drawn, too. Any of these can bring a dead ReLU, a closed gate, a relation that no edge has or
the part below a head of zeros to life; what has no gradient in any of them has none by the form of the
program.

## Limits
None: exactly zero. Nothing is told where the gradient of a draw overflows. A warning; and a note where a
constant array of the program has zeros at just these units, or at just the others, as in the coupling layers
of a flow: a mask that is written so is mostly meant.

## Example
    q, k, v = jnp.split(x @ qkv, 3, axis=-1)
    heads = attention(q, k, v)[:, :, :7]     # there are 8

Use instead:

    heads = attention(q, k, v)

## What it does not say
Which operation leaves the units out. Not looked at: the last layers, of whose outputs a batch may choose some
(actions, tasks); programs that choose by the largest value, as a mixture of experts does; rows of a weight
whose input is always 0, as for a feature that no example has; tables of embeddings. Units that a ReLU keeps
at 0 are `dead-units`; a weight all of whose gradient is zero is `zero-gradient`.

## Source
Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems*, arXiv:1910.11015 (layers whose
sizes do not fit); Michel, Levy and Neubig 2019, *Are Sixteen Heads Really Better than One?*,
arXiv:1905.10650 (the gradient of a head as the sign that it is used).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, PartlyDeadWeight, Severity, ShortTraining, Source
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.parts import source_of
from gradscope.rules.words import count, names_of

REMEDY = (
    "Look at what reads these units: a slice that leaves them out, a softmax over a single position, a mask "
    "that is 0. If nothing is meant to, make the layer narrower."
)

MASKED = (
    " A constant array of the program divides the units in the same way: its zeros are at these, or at the "
    "others."
)


@rule(
    "partly-dead-weights",
    severity=Severity.WARNING,
    symptom_of=(
        "zero-gradient",
        "blocked-gradient",
        "disconnected-parameter",
        "dead-units",
        "state-not-carried",
    ),
    needs=("flow", "training"),
)
def partly_dead_weights(measurement: Measurement, training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    alike: dict[tuple[Source | str, bool], list[PartlyDeadWeight]] = {}
    for each in training.partly_dead:
        line = source_of(measurement, each.layer) or each.parameter
        alike.setdefault((line, each.masked), []).append(each)
    for found, *others in alike.values():
        more = f" The same holds for units of {names_of([each.parameter for each in others])}."
        yield Hit(
            message=(
                f"{found.dead} of the {found.units} units of `{found.parameter}`{_where(found)} have a "
                f"gradient of exactly zero on {_batches(found)}, "
                f"before and after {count(training.steps, 'step')}, and on {found.draws} draws of all "
                "weights, half of them with drawn data; the others have one. The loss may not depend on them "
                f"at all.{more if others else ''}{MASKED if found.masked else ''}"
            ),
            remedy="Nothing is to be done if the mask is meant." if found.masked else REMEDY,
            severity=Severity.NOTE if found.masked else None,
            evidence={"dead": found.dead, "units": found.units, "draws": found.draws},
            layer=found.layer,
            layers=tuple(each.layer for each in (found, *others)),
            parameter=found.parameter,
            source=source_of(measurement, found.layer),
        )


def _where(found: PartlyDeadWeight) -> str:
    if found.dead == 1:
        return f" (number {found.first})"
    together = found.last - found.first + 1 == found.dead
    return f" (numbers {found.first} to {found.last})" if together else ""


def _batches(found: PartlyDeadWeight) -> str:
    return "1 batch" if found.batches == 1 else f"{found.batches} batches"
