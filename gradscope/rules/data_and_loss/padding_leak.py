"""The loss depends on what fills sequences up to one length: a mask is missing in the model or in the loss.

## What it does
Reports a loss that changes when the fillers of a batch of sequences are replaced by other elements.

## Why is this bad
The same sequence gets another output, or another share of the loss, in a batch of longer ones. A mean over
all positions shrinks what a short sequence says, attention looks at elements that are not there, the last
state of a recurrent network is that of the fillers, and a loss over fillers is learned instead of the task.

## How it is measured
By running the program. Fillers are elements of one value in which sequences end or begin, and which a mask or
lengths of the batch, or a mask that the loss computes from the sequences, leave out. In every second sequence
they are replaced by real elements of the batch, where these meet the parameters; masks, lengths and targets
stay the same, and so has the loss. It is told whether outputs for real elements have changed, or only those
for fillers, which the loss then counts.

## Limits
None that can be set. A change below 1e-6 of the loss is taken for rounding; where the program has a Fourier
transform, or runs on an accelerator, below 1e-3. A warning: a convolution or a mean that sees its fillers may
be a choice.

## Example
    h = encoder(params, batch["tokens"])
    logits = h.mean(axis=1) @ params["head"]                # batch["mask"] is not used

Use instead:

    mask = batch["mask"][..., None]
    logits = (h * mask).sum(axis=1) / mask.sum(axis=1) @ params["head"]

## What it does not say
Sequences without a mask or lengths are not judged: a 0 may be a real token. Nor is a convolutional model that
uses its mask elsewhere (at the end of a sequence it sees a few fillers), one whose sequences depend on each
other, as through the batch statistics of a BatchNorm, or one whose output meets no targets.

## Source
The guide *Masking and padding with Keras*, and the arguments `mask` and `seq_lengths` of Flax's attention and
recurrent layers, which are there for this.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, PaddingLeak, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, number


@rule("padding-leak", severity=Severity.WARNING, single_seed_suffices=True)
def padding_leak(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    for found in measurement.objective.padding_leaks:
        yield Hit(
            message=f"{_what(found)} {_how(found)}",
            remedy=_remedy(found),
            evidence={
                "fillers": found.fillers,
                "elements": found.elements,
                "replaced": found.replaced,
                "change": found.change,
                "loss": found.loss,
                "other_loss": found.other,
            },
            source=found.source,
        )


def _what(found: PaddingLeak) -> str:
    named = f"`{found.sequences}`" if found.sequences else "the sequences"
    by = f"`{found.said_by}` leaves" if found.said_by else "a mask that the loss computes leaves"
    return (
        f"The loss depends on what fills {named} up to one length: {by} out {found.fillers} of "
        f"{found.elements} elements, and with {count(found.replaced, 'filler')} replaced by real elements "
        f"the loss of {number(found.loss)} changes by {number(abs(found.other - found.loss))}."
    )


def _how(found: PaddingLeak) -> str:
    if found.change:
        return f"Outputs for real elements or whole sequences changed by up to {number(found.change)}."
    return "Only outputs for fillers changed, and the loss counts these."


def _remedy(found: PaddingLeak) -> str:
    if found.change:
        return (
            "Mask the fillers wherever positions meet: in the scores of every attention, in means and maxima "
            "over positions, and take the last state at the length of each sequence. Where the model is "
            "meant to see its fillers, ignore this."
        )
    return "Average the loss over real elements: `jnp.sum(losses * mask) / jnp.sum(mask)`."
