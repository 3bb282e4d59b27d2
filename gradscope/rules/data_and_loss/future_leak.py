"""A model that predicts the next element of a sequence sees it: a causal mask is missing or wrong.

## What it does
Reports an output that is compared with the next element of the sequence and depends on that element, or on
later ones, among the model's own inputs.

## Why is this bad
The model learns to copy. The loss falls to nearly 0 in training and in validation, since both show the
whole sequence; in generation the next element is not there yet, and what comes out is rubbish. A missing
causal mask does this, one that is off by one, a recurrent network that runs in both directions, a convolution
that is padded on both sides, a mean or a normalization over time.

## How it is measured
By running the program. Targets that are the model's own inputs one position later (computed from the batch,
element by element) tell such a model. The first batch runs once as it is, and again with the inputs from one
position on replaced by others of the batch, in every second sequence; targets, masks and random numbers stay
the same. An output at an earlier position has to stay the same, too. It is reported where it does not, where
the loss reads it, and where a repeated run of the first batch gives the same bits. The layer is the first
whose output changed at earlier positions; the line is that of the mask where an attention with one sees
later places, else that of this layer.

## Limits
None that can be set. A change below 1e-6 of the largest change of the output is taken for rounding; where the
program has a Fourier transform, or runs on an accelerator, below 1e-3. Where a choice of the largest values
stands on the way (experts with a capacity) it is a note.

## Example
    scores = q @ k.swapaxes(-1, -2) / jnp.sqrt(q.shape[-1])
    return jax.nn.softmax(scores) @ v                      # tokens[:, :-1] in, tokens[:, 1:] to predict

Use instead:

    mask = jnp.tril(jnp.ones(scores.shape[-2:], bool))
    return jax.nn.softmax(jnp.where(mask, scores, -jnp.inf)) @ v

## What it does not say
A masked language model, an encoder or a classifier has other targets and is not looked at. Nor is a model
with a latent code (normal noise goes in), one whose encoder sees the whole sequence beside a decoder that
does not, or one whose sequences depend on each other, as through the batch statistics of a BatchNorm. Targets
that are compared inside a loop, and differences of neighbours in their place, are not seen.

## Source
Vaswani et al. 2017, *Attention Is All You Need*, section 3.2.3: "we need to prevent leftward information flow
in the decoder to preserve the auto-regressive property". Karpathy 2019, *A Recipe for Training Neural
Networks*: "use backprop to chart dependencies".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import Attention, FutureLeak, Measurement, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("future-leak", severity=Severity.ERROR, single_seed_suffices=True)
def future_leak(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    told = set[tuple[object, str | None]]()
    mask = _mask(measurement.attentions)
    for found in measurement.objective.future_leaks:
        if (found.source, found.layer) in told:
            continue
        told.add((found.source, found.layer))
        yield Hit(
            message=f"{_what(found)} {_consequence(found)}{_where(found)}{_seen(mask)}{_filled(found)}",
            remedy=(
                "Let position t see inputs up to t only, and predict input t + 1 from it: a causal mask in "
                "every attention, no recurrence that runs backward, convolutions padded on the left, no "
                "statistics over time."
                + (" Where a code of the whole sequence is meant, ignore this." * found.encoded)
                + (" Where routing with a capacity is meant to look ahead, ignore this." * found.routed)
            ),
            evidence={
                "position": found.position,
                "first": found.first,
                "length": found.length,
                "change": found.change,
                "largest": found.largest,
                "target": int(found.target),
            },
            layer=found.layer,
            source=found.source if mask is None else mask.mask,
            severity=Severity.NOTE if found.routed or found.encoded else None,
            explains=(),
        )


def _what(found: FutureLeak) -> str:
    one = found.inputs == found.targets
    named = f"`{found.inputs}`" if found.inputs else "the data"
    pair = f"cut from {named}" if one else f"`{found.targets}` against {named}"
    last = found.length - 1
    replaced = f"inputs {found.first} to {last}" if found.first < last else f"input {last}"
    return (
        f"The targets are the model's inputs one position later ({pair}), and the output depends on inputs "
        f"that come after it: with {replaced} replaced by others of the batch, "
        f"the output at position {found.position} changed by {number(found.change)} (by "
        f"{number(found.largest)} at most anywhere)."
    )


def _consequence(found: FutureLeak) -> str:
    if found.encoded:
        return "The state at the end of one loop begins another, as the code of an encoder does."
    if found.target:
        return "It changes with the very element that it has to predict, which generation does not have yet."
    return "In generation these are not there yet."


def _where(found: FutureLeak) -> str:
    if found.layer is None:
        return ""
    return f" `{found.layer}` is the first layer whose output changed at positions before {found.first}."


def _mask(attentions: Sequence[Attention]) -> Attention | None:
    """The attention whose mask lets a query see a later place, where all such masks are of one line."""
    open_ = [each for each in attentions if each.forward]
    lines = {each.mask for each in open_}
    return open_[0] if len(lines) == 1 and None not in lines else None


def _seen(attention: Attention | None) -> str:
    if attention is None:
        return ""
    return (
        f" The mask of attention that is made at this line lets {attention.forward:,} of "
        f"{attention.rows:,} rows see a later place."
    )


def _filled(found: FutureLeak) -> str:
    if not found.filled:
        return ""
    return " To see behind weights that are all zero, small random ones stood in for them."
