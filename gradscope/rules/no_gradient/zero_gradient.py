"""The gradient of a layer is exactly zero, although the layer is connected to the loss.

## What it does
Reports layers whose gradient is exactly 0 in every element although a path to the loss exists and nothing
blocks it. Of several such consecutive layers the finding names the first one all of whose units are dead,
else the one nearest to the loss.

## Why is this bad
The layer does not learn. Common causes: a ReLU whose units are all dead (its input is 0 or less for every
sample, often after a large negative bias or a step that was too large), an input that is all zeros, a
multiplication by zero, a loss that is clipped or saturated, underflow in half precision.

## How it is measured
By the largest absolute value of the gradient of each leaf, over the whole batch. Before a zero is judged,
some optimizer steps are taken: a layer with a gradient then was zero by construction (a zero-initialized head
or residual gain) and is not reported; nor is one that has a gradient at some step of a short training that
lowers the loss, as units that are silent at the start. Without these steps it is a warning. Where its output
goes into a custom rule for a step function, the share of elements at which that surrogate is not 0 is
counted.

Where δ = ∂L/∂z of the layer is not zero but the gradient of its weights is, the products of input and δ sum
to zero: the input is all zeros (the layer is then a symptom of an earlier one, if that is dead), input and δ
are zero in turn, row by row, or several uses of the layer cancel each other.

Where that is so in a loop over time, its state begins with zeros, and δ of the state that enters each later
step is exactly 0, the loss reads its first step alone: that is said, with the line that takes one step of its
outputs. A loop that runs backward has seen one element there, as the backward half of a bidirectional network
at the last position. So it is of queries and keys of an attention that sees no later place, of which the loss
reads the first one: δ of what the attention gives is then measured place by place.

Where δ is zero, zeros are added to the result of each operation behind the layer, and the gradient with
respect to these tells the one that gets a gradient and passes none back: a ReLU on a part of the output,
say. Where that is a product with an array that is made of the batch alone and is 0 everywhere, or a choice
by one, as the mask of a task is that the batch has no labels for, it is a warning as long as other layers
learn.

## Limits
None: exactly zero. Source: `jax.nn.relu` has derivative exactly 0 at and below 0, and JAX sums exact zeros
exactly; a gradient that is only small is a matter for `vanishing-gradient`.

## Example
    h = jax.nn.relu(x @ w - 100.0)          # never positive: no unit ever passes a gradient

Use instead:

    h = jax.nn.leaky_relu(x @ w)            # or a bias of 0 with He initialization

## What it does not say
Not reported: a bias before a normalization and a key bias under a softmax (the loss does not depend on them;
any vector is passed over where another leaf of its layer has a gradient), everything below a
zero-initialized head, unused rows of an embedding table. An expert that gets no input from this batch, while
similar layers have a gradient, is a note; one whose later layers have a gradient is in use, and dead. A
vector by itself (a gain, a temperature) is a warning. So is a weight that is used once, on an array of the
batch that is 0 everywhere, where weights beside it have a gradient; and one of several weights of an
equivariant module (names of the form `linear['w[1,1] 8x2o']`) where δ comes to it and the others have a
gradient: no example may have its irreducible representation. A weight whose
input is a constant 0 in the program, as that of the state of a cell that runs one step, is a warning. A query
that no gradient comes from is an error; of a state that a loop does not carry `state-not-carried` tells.

## Source
Lu et al. 2019, *Dying ReLU and Initialization*, arXiv:1903.06733. Zero-initialized heads and gains: Goyal et
al. 2017, arXiv:1706.02677; Dosovitskiy et al. 2020, arXiv:2010.11929.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import (
    Connection,
    Layer,
    Measurement,
    Parameter,
    Severity,
    ShortTraining,
)
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.no_gradient.read_alone import ReadAlone, read_alone
from gradscope.rules.no_gradient.unused_parts import Dead, one_part, unrouted
from gradscope.rules.no_gradient.zero_gradient_causes import (
    begins_with_zeros,
    cause_of,
    end_of,
    has_delta,
)
from gradscope.rules.parts import by_layer, only
from gradscope.rules.words import names_of


@rule(
    "zero-gradient",
    severity=Severity.ERROR,
    symptom_of=(
        "non-finite",
        "blocked-gradient",
        "disconnected-parameter",
        "dead-loss-term",
        "mismatched-output",
        "vanishing-gradient",
        "unnormalized-input",
        "attention-collapse",
        "one-key-attention",
        "normalized-away",
        "symmetric-units",
        "state-not-carried",
    ),
    uses=("training",),
    single_seed_suffices=True,
)
def zero_gradient(measurement: Measurement, training: ShortTraining | None, limits: Limits) -> Iterator[Hit]:
    del limits
    alive = _woken(training)
    found = _dead(measurement)
    dead = {
        layer: leaves
        for layer, leaves in found.items()
        if not all(leaf.gradient_max == 0 and leaf.name in alive for leaf in leaves)
    }
    for read in read_alone(measurement):
        inside = [layer for layer in read.layers if layer in dead]
        if any(len(leaf.shape) > 1 for layer in inside for leaf in dead[layer]):
            yield _of_one_step(measurement, read, dead)
            dead = {layer: leaves for layer, leaves in dead.items() if layer not in inside}
    for run in _runs(measurement, dead):
        root = _root(measurement, run)
        below = [layer for layer in run if layer is not root]
        yield _hit(measurement, root, below, dead)


def _woken(training: ShortTraining | None) -> set[str]:
    """Parameters that have a gradient at some step of a short training that lowers the loss: units that are
    silent at the start, and not dead. Of an array of stacked layers, nothing is known of a single one of them
    where others had a gradient from the start."""
    if training is None or not training.end < training.start:
        return set()
    return {leaf.name for leaf in training.leaves if leaf.gradient}


def _dead(measurement: Measurement) -> Dead:
    """The leaves, by layer, with a zero gradient that neither construction nor an invariance explains."""
    rows = {layer.name for layer in measurement.layers if layer.gradient_max == 0 and layer.depth is not None}
    rows -= {layer.name for layer in measurement.layers if layer.nonzero_after_steps is True}
    dead: dict[str, list[Parameter]] = {}
    for layer, leaves in by_layer(measurement, _connected(measurement)).items():
        alive = any(leaf.gradient_max != 0 for leaf in leaves)
        zero = [leaf for leaf in leaves if leaf.gradient_max == 0 and leaf.nonzero_after_steps is not True]
        zero = [leaf for leaf in zero if not alive or len(leaf.shape) > 1]
        if all(leaf.layer != layer for leaf in leaves):
            zero = leaves if layer in rows else []
        if zero:
            dead[layer] = zero
    return dead


def _connected(measurement: Measurement) -> list[Parameter]:
    """Without what only a derivative rule of the file reads."""
    feedback = () if measurement.hand_made is None else measurement.hand_made.feedback
    every = [p for p in measurement.parameters if p.connection is Connection.CONNECTED and p.size > 0]
    return [p for p in every if p.name not in feedback]


def _runs(measurement: Measurement, dead: Dead) -> Iterator[list[Layer]]:
    """Consecutive dead layers, in forward order; layers without a path to the loss are skipped."""
    connected = by_layer(measurement, _connected(measurement))
    run: list[Layer] = []
    for layer in measurement.layers:
        if layer.name in dead:
            run.append(layer)
        elif layer.name in connected and run:
            yield run
            run = []
    if run:
        yield run


def _root(measurement: Measurement, run: Sequence[Layer]) -> Layer:
    """The first layer all of whose units are dead: those after it get zeros from it, and those before it no
    gradient. Else the one nearest to the loss to which no δ comes."""
    whole = {units.layer for units in measurement.units if units.dead == units.units}
    without_delta = [layer for layer in run if not has_delta(layer)]
    dead = [layer for layer in without_delta if layer.name in whole]
    return dead[0] if dead else (without_delta or run[:1])[-1]


def _looked(root: Layer, leaves: Sequence[Parameter]) -> bool:
    """Whether the gradient is still zero after some optimizer steps."""
    return root.nonzero_after_steps is False or all(leaf.nonzero_after_steps is False for leaf in leaves)


def _masked(measurement: Measurement, root: Layer) -> bool:
    """Whether the batch alone clears what is computed from it, and other layers learn."""
    end = end_of(measurement, root)
    return end is not None and end.cleared and any(each.gradient_max > 0 for each in measurement.layers)


def _severity(measurement: Measurement, root: Layer, dead: Dead, unused: bool) -> Severity:
    if unused:
        return Severity.NOTE
    leaves = dead[root.name]
    empty = (
        one_part(measurement, root, dead)
        or _masked(measurement, root)
        or begins_with_zeros(measurement, root)
    )
    looked = _looked(root, leaves) and not empty
    stacked = any(leaf.layer != root.name for leaf in leaves)
    matrix = any(len(leaf.shape) > 1 + stacked for leaf in leaves)
    return Severity.ERROR if looked and matrix else Severity.WARNING


def _hit(measurement: Measurement, root: Layer, others: Sequence[Layer], dead: Dead) -> Hit:
    leaves = dead[root.name]
    unused = unrouted(measurement, root, dead)
    later = _later(_looked(root, leaves))
    mine = all(leaf.layer == root.name for leaf in leaves)
    what = names_of([leaf.name for leaf in leaves] if mine else [root.name])
    message = f"The gradient of {what} is exactly zero{later}."
    if others:
        message += f" The same holds for {names_of(_names(measurement, others, dead))}."
    cause, remedy = cause_of(measurement, root, unused)
    end = end_of(measurement, root)
    return Hit(
        message=f"{message} {cause}",
        remedy=remedy,
        evidence={"gradient_max": 0.0, "layers": 1 + len(others), "parameters": len(leaves)},
        layer=root.name,
        parameter=only(leaves) if mine else None,
        source=root.source if end is None or end.source is None else end.source,
        severity=_severity(measurement, root, dead, unused),
        layers=(root.name, *(other.name for other in others)),
        explains=(root.name, *(other.name for other in others)),
    )


def _later(looked: bool) -> str:
    if looked:
        return ", and still is after some optimizer steps"
    return "; whether it still is after an optimizer step was not measured"


def _of_one_step(measurement: Measurement, read: ReadAlone, dead: Dead) -> Hit:
    """Of all that is without a gradient where the loss reads the first step or place alone."""
    roots = [layer for layer in measurement.layers if layer.name in dead and layer.name in read.layers]
    looked = all(_looked(layer, dead[layer.name]) for layer in roots)
    names = names_of(_names(measurement, roots, dead))
    return Hit(
        message=f"The gradient of {names} is exactly zero{_later(looked)}. {read.cause}",
        remedy=read.remedy,
        evidence={"gradient_max": 0.0, "layers": len(roots), "steps": read.length},
        layer=roots[-1].name,
        source=read.source,
        severity=Severity.ERROR if looked and read.sure else Severity.WARNING,
        layers=tuple(layer.name for layer in roots),
        explains=read.layers,
    )


def _names(measurement: Measurement, layers: Sequence[Layer], dead: Dead) -> list[str]:
    """Of each layer that has no gradient at all its own, else of the parameters that have none."""
    alive = {leaf.layer for leaf in _connected(measurement) if leaf.gradient_max != 0}
    found = []
    for layer in layers:
        part = layer.name in alive and all(leaf.layer == layer.name for leaf in dead[layer.name])
        found += [leaf.name for leaf in dead[layer.name]] if part else [layer.name]
    return found
