"""Predictions of shape (N, 1) meet targets of shape (N,), and every example is compared with all of them.

## What it does
Reports an operation in which two operands bring the examples of the batch along different axes, so that
broadcasting makes a value for each pair of examples, and all pairs are then averaged or summed into the loss.

## Why is this bad
No error is raised, and the loss falls, but under a squared error or a cross-entropy each prediction is drawn
to all targets alike: the best that the model can do is to give their mean whatever its input. The usual cause
is a last layer of one unit, whose output has a trailing axis of length one that the targets do not have.

## How it is measured
Exactly, from the program (its jaxpr). The leading axis that most arrays of the batch share is followed
through it, into `jit`, `vmap`, `scan` and `cond`. An operation counts where an operand of shape (N, 1) meets
one of shape (N,) whose rank NumPy promoted to (1, N) on its own, where one of them depends on the parameters,
and where both axes of the result are only summed from there to the loss.

## Limits
None: the shapes meet so or they do not. An error. It is a warning where the axis of the one operand was
written out (`pred[:, None] - targets`), since the author may have meant pairs. Lines at which the same shapes
meet behind the same layer are one finding.

## Example
    pred = h @ params["w"] + params["b"]             # (N, 1)
    return jnp.mean((pred - y) ** 2)                 # y is (N,): the difference is (N, N)

Use instead:

    return jnp.mean((pred[:, 0] - y) ** 2)

## What it does not say
Pairs that are meant are not reported: where both axes are written out (`x[:, None] - y[None, :]`), where a
value meets itself, where both operands are made by the model and one axis is written out (a ranking loss),
and where something treats the pairs as pairs: a softmax or a maximum over one axis, a mask, a diagonal, a
product of matrices. Shapes that meet by accident along another axis than that of the examples are not looked
for.

## Source
"Wrong shape" and "broadcasting" in Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems*
(ICSE), arXiv:1910.11015; NumPy's broadcasting rules. `jax.config.jax_numpy_rank_promotion = "raise"` makes
every such promotion an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import ExamplePairing, Measurement, Severity, Source
from gradscope.rules.base import Hit, Limits, rule


@rule("broadcast-loss", severity=Severity.ERROR, single_seed_suffices=True)
def broadcast_loss(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    lines: dict[Source | None, list[ExamplePairing]] = {}
    for pairing in measurement.objective.example_pairings:
        if pairing.targets or not pairing.asked:
            lines.setdefault(pairing.source, []).append(pairing)
    causes: dict[tuple[object, ...], list[ExamplePairing]] = {}
    for found in lines.values():
        # One that nobody asked for is the graver.
        gravest = min(found, key=lambda pairing: pairing.asked)
        shapes = gravest.shape, gravest.promoted, gravest.result
        causes.setdefault((*shapes, gravest.layer, gravest.asked, gravest.targets), []).append(gravest)
    for first, *others in causes.values():
        yield _hit(first, others)


def _hit(pairing: ExamplePairing, others: Sequence[ExamplePairing]) -> Hit:
    shape, promoted, result = map(_text, (pairing.shape, pairing.promoted, pairing.result))
    pairs = pairing.examples**2
    met = (
        f"`{pairing.op}` broadcasts an operand of shape {shape} against one of shape {promoted} to "
        f"{result}: each of the {pairing.examples} examples meets all of them, and all {pairs:,} pairs go "
        "alike into the loss."
    )
    return Hit(
        message=met + _at_other_lines(others),
        remedy=_remedy(pairing),
        evidence={
            "op": pairing.op,
            "shape": shape,
            "promoted": promoted,
            "result": result,
            "pairs": pairs,
            "lines": 1 + len(others),
        },
        layer=pairing.layer,
        source=pairing.source,
        severity=Severity.WARNING if pairing.asked else Severity.ERROR,
    )


def _at_other_lines(others: Sequence[ExamplePairing]) -> str:
    where = [str(each.source) for each in others if each.source is not None]
    return f" The same shapes meet at {', '.join(where)}." if where else ""


def _remedy(pairing: ExamplePairing) -> str:
    shape, promoted = _text(pairing.shape), _text(pairing.promoted)
    if pairing.asked:
        return (
            f"Leave out the axis that was added to make one operand {shape}; if every pair is meant, write "
            "the axis of the other one out as well: `b[None, :]`."
        )
    if len(pairing.shape) == len(pairing.promoted) + 1 and pairing.shape[-1] == 1:
        return (
            f"Give both the same shape: index the operand of shape {shape} with `[..., 0]`, or that of shape "
            f"{promoted} with `[..., None]`."
        )
    return f"Give both operands the same shape before they meet; they have {shape} and {promoted}."


def _text(shape: tuple[int, ...]) -> str:
    return f"({shape[0]},)" if len(shape) == 1 else f"({', '.join(map(str, shape))})"
