"""A parameter that no operation connects to the loss, so that it never learns.

## What it does
Reports every layer with a leaf from which no path of operations leads to the loss. A part of the model with
no connected leaf is one finding.

## Why is this bad
The parameter keeps its initial value, and no error is raised: its gradient is zero, and weight decay even
shrinks it. The usual causes are a layer that is created and not called, a
result that is computed and not returned, a variable overwritten by the wrong name, a branch that a
configuration left out.

## How it is measured
Exactly, from the program of the loss (its jaxpr). A gradient that is zero although a path exists is a
finding of `zero-gradient`, a blocked path one of `blocked-gradient`.

## Limits
None: a path exists or it does not. Source: reachability in the jaxpr, as JAX differentiates it.

## Example
    h = jax.nn.relu(x @ params["encoder"])
    h2 = jax.nn.relu(h @ params["middle"])
    return jnp.mean((h @ params["head"] - y) ** 2)      # h, where h2 was meant

Use instead:

    return jnp.mean((h2 @ params["head"] - y) ** 2)

## What it does not say
A leaf that reaches the auxiliary output only (running statistics of BatchNorm, the parameters of a target
network) is updated there and not by its gradient: a note. So is the last bias of a network if the loss uses
only derivatives of its output (a score, a force, a gradient penalty), to which a constant does not
contribute. Unused rows of an embedding table are connected. A head for a task that is not in this batch may
be disconnected on purpose: ignore the rule, or check a loss with all tasks.

## Source
The class of fault is "missing layer" and "wrong tensor" in Humbatova et al. 2020, *Taxonomy of Real Faults in
Deep Learning Systems* (ICSE), arXiv:1910.11015.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from gradscope.records import Connection, Measurement, Parameter, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.parts import by_layer, names, only, part_of, paths, source_of, whole
from gradscope.rules.words import count, names_of

Groups = Mapping[str, Sequence[Parameter]]


@rule(
    "disconnected-parameter",
    severity=Severity.ERROR,
    symptom_of=("dead-loss-term",),
    single_seed_suffices=True,
)
def disconnected_parameter(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    filled = [parameter for parameter in measurement.parameters if parameter.size > 0]
    for kind in (Connection.DISCONNECTED, Connection.DERIVATIVE, Connection.STATE):
        groups = by_layer(measurement, (p for p in filled if p.connection is kind))
        if kind is Connection.DISCONNECTED and _covers(groups, filled):
            yield _nothing_connected(groups)
            continue
        for leaves in _by_part(groups, filled):
            yield _hit(measurement, leaves, kind)


def _covers(groups: Groups, filled: Sequence[Parameter]) -> bool:
    return bool(filled) and sum(len(leaves) for leaves in groups.values()) == len(filled)


def _by_part(groups: Groups, filled: Sequence[Parameter]) -> list[list[Parameter]]:
    """One list per layer, or per part where the whole part is in `groups`."""
    steps, entire = paths(names(filled)), whole(groups, filled)
    merged: dict[tuple[str, str], list[Parameter]] = {}
    for layer, leaves in groups.items():
        for leaf in leaves:
            part = part_of(steps[leaf.name])
            key = ("part", part) if entire[part] and len(steps[leaf.name]) > 1 else ("layer", layer)
            merged.setdefault(key, []).append(leaf)
    return list(merged.values())


def _hit(measurement: Measurement, leaves: Sequence[Parameter], kind: Connection) -> Hit:
    layers = list(dict.fromkeys(leaf.layer for leaf in leaves))
    listed = names_of(names(leaves))
    verb = "does" if len(leaves) == 1 else "do"
    meant = kind is not Connection.DISCONNECTED
    if kind is Connection.DERIVATIVE:
        message = (
            f"{listed} {verb} not affect the loss, which uses only derivatives of the value that "
            f"{'this is' if len(leaves) == 1 else 'these are'} added to; a constant has derivative 0."
        )
        remedy = "Nothing to do if the loss uses only derivatives on purpose (a score, a force, a penalty)."
    elif meant:
        message = f"{listed} {verb} not reach the loss, only the auxiliary output, and may be updated there."
        remedy = "Nothing to do if this is state (running statistics, a target network)."
    else:
        message = f"{listed} {verb} not reach the loss: no path of operations leads there."
        remedy = "Use the result of this layer in what the loss returns, or remove the parameter."
    if len(layers) > 1:
        message += f" {count(len(layers), 'layer')}: {names_of(layers)}."
    return Hit(
        message=message,
        remedy=remedy,
        evidence={"parameters": len(leaves), "elements": sum(leaf.size for leaf in leaves)},
        layer=layers[0],
        parameter=only(leaves),
        source=source_of(measurement, layers[0]),
        severity=Severity.NOTE if meant else None,
        layers=tuple(layers),
        explains=tuple(layers),
    )


def _nothing_connected(groups: Groups) -> Hit:
    leaves = [leaf for leaves in groups.values() for leaf in leaves]
    return Hit(
        message=f"No parameter reaches the loss: {count(len(leaves), 'parameter')}, none with a path to it.",
        remedy="Compute the loss from the parameters passed to it, not from a copy that it closes over.",
        evidence={"parameters": len(leaves), "elements": sum(leaf.size for leaf in leaves)},
        explains=None,
    )
