"""A NaN or an infinity in the parameters, the batch, the loss or a gradient.

## What it does
Names the origin of the first NaN or infinity: the operation, in the forward or the backward pass, with its
line, operands and result, the reason, the remedy for that case, and the parameters whose gradient is not
finite because of it. It is one finding; other findings of such a run are listed with it, as its likely
symptoms.

## Why is this bad
A NaN in a gradient makes the parameter NaN in the next step, and soon all others.

## How it is measured
The program and its derivative run once more, operation by operation. An operation with a result that is not
finite runs again with its non-finite operands replaced by finite numbers; if the result is then finite, they
were the cause. The first operation that makes such a number from finite operands is the origin: inside jit,
scan (with the iteration), cond, vmap, remat and custom rules. The operations before it are shown with their
ranges.

Where that run does not show it (compiled as a whole, a program may round differently), the finding names the
first of these: a leaf of the parameters; a leaf of the batch; the first layer whose output is not finite; the
loss; the layer nearest to the loss whose δ = ∂L/∂z is not finite; a gradient.

An infinity can be gone before the loss: a norm that overflows, and x / infinity = 0 with a derivative of 0.
All is finite then, so it is looked for where a gradient stays exactly zero, and named only if that gradient
is not zero with the largest finite number in the place of the infinity.

## Limits
None: finite or not, by IEEE 754. A norm that overflows while every element is finite is not counted.

## Example
    distance = jnp.sqrt(jnp.sum((x - y) ** 2))         # at x == y the gradient is 0 * inf = NaN

Use instead:

    square = jnp.sum((x - y) ** 2)
    safe = jnp.where(square > 0, square, 1.0)          # the square root never gets a 0,
    distance = jnp.where(square > 0, jnp.sqrt(safe), 0.0)

One `where` is not enough: its gradient multiplies the branch not taken by 0, and 0 * inf = NaN.

## What it does not say
A value that is not finite and reaches neither the loss nor a gradient is masked on purpose (attention scores
of -inf, a padded row) and is not reported, unless it is what makes a gradient zero. An intended infinity (a
mask, an initial value of `jnp.inf`) is never the origin; the operation that makes a NaN from it is. A leaf of
the batch with masked NaN values for "missing" is a note; a parameter with an infinity that does no harm (a
stored mask) is a warning.

## Source
The two-`where` rule: JAX FAQ, "Gradients contain NaN where using where"; jax-ml/jax#347.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gradscope.records import Cause, Measurement, NonFiniteInput, NonFiniteValue, Origin, Parameter, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.numerics.lost_infinities import lost_finding
from gradscope.rules.numerics.origins import origin_finding
from gradscope.rules.numerics.remedies import TWO_WHERE
from gradscope.rules.parts import source_of
from gradscope.rules.words import count, names_of, number

T = TypeVar("T")


@rule("non-finite", severity=Severity.ERROR, symptom_of=("diverging-loss",), single_seed_suffices=True)
def non_finite(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    affected = [p for p in measurement.parameters if not math.isfinite(p.gradient_max)]
    harmful = bool(affected) or not math.isfinite(measurement.loss)
    broken = [parameter for parameter in measurement.parameters if parameter.weight_nonfinite]
    tail = _consequences(measurement, affected)
    origin = measurement.origin if harmful else None
    if origin is not None and origin.cause not in (Cause.PARAMETER, Cause.BATCH):
        yield origin_finding(measurement, origin, tail)
    elif broken and not (origin is not None and origin.cause is Cause.BATCH):
        yield _in_parameters(measurement, _first(broken, origin, lambda leaf: leaf.name), tail, harmful)
    elif measurement.nonfinite_inputs:
        inputs = _first(measurement.nonfinite_inputs, origin, lambda leaf: _of_batch(leaf.name))
        yield _in_batch(inputs, tail, harmful)
    elif harmful:
        yield _in_run(measurement, affected, tail)
    if not harmful and measurement.lost_infinity is not None:
        yield lost_finding(measurement, measurement.lost_infinity)


def _first(leaves: Sequence[T], origin: Origin | None, name: Callable[[T], str]) -> list[T]:
    """The leaf that was found to be the origin, before the others."""
    return sorted(leaves, key=lambda leaf: origin is None or name(leaf) != origin.op)


def _consequences(measurement: Measurement, affected: Sequence[Parameter]) -> str:
    loss = f" The loss is {number(measurement.loss)}." if not math.isfinite(measurement.loss) else ""
    if not affected:
        return loss
    names = names_of([parameter.name for parameter in affected])
    return f"{loss} The gradient of {count(len(affected), 'parameter')} is not finite: {names}."


def _in_parameters(measurement: Measurement, broken: Sequence[Parameter], tail: str, harmful: bool) -> Hit:
    first = broken[0]
    more = _also([leaf.name for leaf in broken[1:]])
    return Hit(
        message=f"{_holds(first.name, first.weight_nonfinite, first.size)} at the start.{more}{tail}",
        remedy="Look at where this parameter comes from: its initialization, a checkpoint, the last update.",
        evidence={"nonfinite": first.weight_nonfinite, "elements": first.size, "parameters": len(broken)},
        layer=first.layer,
        parameter=first.name,
        source=source_of(measurement, first.layer),
        severity=None if harmful else Severity.WARNING,
        explains=None if harmful else (),
    )


def _of_batch(name: str) -> str:
    return "batch" if name == "batch" else f"batch{'' if name.startswith('[') else '.'}{name}"


def _in_batch(inputs: Sequence[NonFiniteInput], tail: str, harmful: bool) -> Hit:
    first, *others = inputs
    more = _also([_of_batch(leaf.name) for leaf in others])
    masked = "" if harmful else " The loss and all gradients are finite, so it is masked."
    return Hit(
        message=f"{_holds(_of_batch(first.name), first.count, first.size)}.{more}{masked}{tail}",
        remedy=(
            "Clean the data: drop or fill these values, for instance with `jnp.nan_to_num` before training."
            if harmful
            else "Nothing to do if these are missing values that are masked on purpose."
        ),
        evidence={"nonfinite": first.count, "elements": first.size, "leaves": 1 + len(others)},
        severity=None if harmful else Severity.NOTE,
        explains=None if harmful else (),
    )


def _also(names: Sequence[str]) -> str:
    return f" The same holds for {names_of(names)}." if names else ""


def _holds(name: str, bad: int, size: int) -> str:
    return (
        f"`{name}` holds {count(bad, 'value')} of {size} that {'is' if bad == 1 else 'are'} NaN or infinite"
    )


def _in_run(measurement: Measurement, affected: Sequence[Parameter], tail: str) -> Hit:
    forward = next((value for value in measurement.nonfinite_values if value.forward), None)
    backward = _nearest_to_loss(measurement)
    if forward is not None:
        return _at(measurement, forward, *_forward_words(measurement, forward), tail)
    if not math.isfinite(measurement.loss):
        message = (
            "The loss is not finite although the output of every layer is: the origin is in the loss itself."
        )
        remedy = f"Look at the loss for a log of 0, a division by 0 or an overflow of exp. {TWO_WHERE}"
        return Hit(message + tail, remedy, {"loss": measurement.loss}, explains=None)
    if backward is not None:
        message = (
            f"The loss is finite, but δ at the output of `{backward.layer}`{_step(backward)} is not: the "
            "derivative of an operation between this layer and the loss is NaN or infinite."
        )
        return _at(measurement, backward, message, TWO_WHERE, tail)
    last = affected[-1]
    message = f"The loss and every δ that was measured are finite, but the gradient of `{last.name}` is not."
    source = source_of(measurement, last.layer)
    return Hit(message + tail, TWO_WHERE, _counts(measurement), last.layer, last.name, source, explains=None)


def _forward_words(measurement: Measurement, value: NonFiniteValue) -> tuple[str, str]:
    message = f"The output of `{value.layer}`{_step(value)} is the first value that is not finite."
    if math.isfinite(measurement.loss):
        return (
            f"{message} The loss is finite: it masks this value, but the backward pass does not, since "
            "0 times NaN is NaN.",
            TWO_WHERE,
        )
    return message, (
        "Look at this line for an overflow (weights or input too large), a division by 0, or the log or root "
        "of a number below 0."
    )


def _at(measurement: Measurement, value: NonFiniteValue, message: str, remedy: str, tail: str) -> Hit:
    source = value.source or source_of(measurement, value.layer)
    evidence = _counts(measurement) | ({} if value.step is None else {"step": value.step})
    return Hit(message + tail, remedy, evidence, value.layer, None, source, explains=None)


def _counts(measurement: Measurement) -> dict[str, float | int | str]:
    bad = sum(not math.isfinite(parameter.gradient_max) for parameter in measurement.parameters)
    return {"loss": measurement.loss, "poisoned_parameters": bad, "parameters": len(measurement.parameters)}


def _step(value: NonFiniteValue) -> str:
    return "" if value.step is None else f" at step {value.step + 1}"


def _nearest_to_loss(measurement: Measurement) -> NonFiniteValue | None:
    order = {layer.name: place for place, layer in enumerate(measurement.layers)}
    backward = [value for value in measurement.nonfinite_values if not value.forward]
    return max(backward, key=lambda value: order.get(value.layer, -1), default=None)
