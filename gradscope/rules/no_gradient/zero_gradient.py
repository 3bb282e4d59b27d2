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

import re
from collections.abc import Iterator, Mapping, Sequence

from gradscope.records import (
    Connection,
    Layer,
    Measurement,
    Parameter,
    Severity,
    ShortTraining,
)
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.no_gradient.zero_gradient_causes import (
    begins_with_zeros,
    cause_of,
    cleared_input,
    end_of,
    has_delta,
)
from gradscope.rules.parts import by_layer, only
from gradscope.rules.words import names_of

Dead = Mapping[str, Sequence[Parameter]]


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


def _unrouted(measurement: Measurement, layer: Layer, dead: Dead) -> bool:
    """Whether a sibling at the same depth has a gradient: experts, or heads, that this batch did not use."""
    if has_delta(layer) or layer.depth is None:
        return False
    alike = [
        other
        for other in measurement.layers
        if other.depth == layer.depth
        and other.name not in dead
        and _siblings(other.name) == _siblings(layer.name)
        and other.name != layer.name
        and other.gradient_max > 0
    ]
    member = layer.name[: layer.name.rfind("]") + 1]
    mine = [other for other in measurement.layers if member and other.name.startswith(member)]
    if any(has_delta(other) and (other.depth or 0) > layer.depth for other in mine):
        # The loss uses this member: only its own layers at the same depth can show that this one is unused.
        alike = [other for other in alike if other in mine]
    return bool(alike)


def _siblings(name: str) -> str:
    """`expert_3` and `expert_7` are siblings, and so are `heads.box` and `heads.class`."""
    parent, dot, _ = name.rpartition(".")
    return re.sub(r"\d+", "", parent if dot else name)


def _looked(root: Layer, leaves: Sequence[Parameter]) -> bool:
    """Whether the gradient is still zero after some optimizer steps."""
    return root.nonzero_after_steps is False or all(leaf.nonzero_after_steps is False for leaf in leaves)


def _one_part(measurement: Measurement, layer: Layer, dead: Dead) -> bool:
    """Whether δ comes to it, and other weights beside it have a gradient: its part of the input is zero in
    these data, as is known of an array of the batch, and may be of an irreducible representation."""
    zero, kind = cleared_input(measurement, layer), _numbered(layer.name)
    if zero and layer.gradient_max > 0:
        return True
    return has_delta(layer) and any(
        other.depth == layer.depth
        and (zero or (bool(kind) and _numbered(other.name) == kind))
        and other.name not in dead
        and other.gradient_max > 0
        for other in measurement.layers
    )


def _numbered(name: str) -> str:
    """Of weights that an equivariant module has for each representation: `linear['w` of
    `linear['w[0,0] 8x0e']`. Empty of others: a query beside a value, a recurrent weight beside that of the
    input are other weights, with an input that no data should leave at zero."""
    found = re.match(r".*\['\w+(?=\[\d+,\d+\])", name)
    return found[0] if found else ""


def _masked(measurement: Measurement, root: Layer) -> bool:
    """Whether the batch alone clears what is computed from it, and other layers learn."""
    end = end_of(measurement, root)
    return end is not None and end.cleared and any(each.gradient_max > 0 for each in measurement.layers)


def _severity(measurement: Measurement, root: Layer, dead: Dead, unrouted: bool) -> Severity:
    if unrouted:
        return Severity.NOTE
    leaves = dead[root.name]
    unused = (
        _one_part(measurement, root, dead)
        or _masked(measurement, root)
        or begins_with_zeros(measurement, root)
    )
    looked = _looked(root, leaves) and not unused
    stacked = any(leaf.layer != root.name for leaf in leaves)
    matrix = any(len(leaf.shape) > 1 + stacked for leaf in leaves)
    return Severity.ERROR if looked and matrix else Severity.WARNING


def _hit(measurement: Measurement, root: Layer, others: Sequence[Layer], dead: Dead) -> Hit:
    leaves = dead[root.name]
    unrouted = _unrouted(measurement, root, dead)
    later = (
        ", and still is after some optimizer steps"
        if _looked(root, leaves)
        else "; whether it still is after an optimizer step was not measured"
    )
    mine = all(leaf.layer == root.name for leaf in leaves)
    what = names_of([leaf.name for leaf in leaves] if mine else [root.name])
    message = f"The gradient of {what} is exactly zero{later}."
    if others:
        message += f" The same holds for {names_of(_names(measurement, others, dead))}."
    cause, remedy = cause_of(measurement, root, unrouted)
    end = end_of(measurement, root)
    return Hit(
        message=f"{message} {cause}",
        remedy=remedy,
        evidence={"gradient_max": 0.0, "layers": 1 + len(others), "parameters": len(leaves)},
        layer=root.name,
        parameter=only(leaves) if mine else None,
        source=root.source if end is None or end.source is None else end.source,
        severity=_severity(measurement, root, dead, unrouted),
        layers=(root.name, *(other.name for other in others)),
        explains=(root.name, *(other.name for other in others)),
    )


def _names(measurement: Measurement, layers: Sequence[Layer], dead: Dead) -> list[str]:
    """Of each layer that has no gradient at all its own, else of the parameters that have none."""
    alive = {leaf.layer for leaf in _connected(measurement) if leaf.gradient_max != 0}
    found = []
    for layer in layers:
        part = layer.name in alive and all(leaf.layer == layer.name for leaf in dead[layer.name])
        found += [leaf.name for leaf in dead[layer.name]] if part else [layer.name]
    return found
