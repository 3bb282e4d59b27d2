"""A NaN or an infinity in the parameters, the batch, the loss or a gradient.

## What it does
Names the operation at which a number stopped being finite, forward or backward: its line, what it got and
gave there, why, and the remedy for that case; and the parameters whose gradient it poisons. One finding, for
the root; other findings of such a run are told beside it, since nothing else can be judged.

## Why is this bad
One NaN in a gradient makes the parameter NaN in the next step, and one step later all of them.

## How it is measured
The program and its derivative run once more, operation by operation. A bad result is traced to what made it
bad by running the operation again with the bad operands replaced by finite numbers; if the result is then
finite, they were the cause. The first operation that makes a bad number by itself is the origin: inside jit,
scan (with the iteration), cond, vmap, remat and custom rules. What led up to it is shown with its ranges.

Where that run does not show it (compiled as a whole, a program may round otherwise) the order of blame is: a
leaf of the parameters; a leaf of the batch; the first layer whose output is not finite; the loss; the layer
nearest to the loss whose δ = ∂L/∂z is not finite; a gradient.

## Limits
None: finite or not, by IEEE 754. A norm that overflows while every element is finite is not counted.

## Example
    distance = jnp.sqrt(jnp.sum((x - y) ** 2))         # at x == y the gradient is 0 * inf = NaN

Use instead:

    square = jnp.sum((x - y) ** 2)
    safe = jnp.where(square > 0, square, 1.0)          # the square root never sees a 0,
    distance = jnp.where(square > 0, jnp.sqrt(safe), 0.0)

One `where` is not enough: its gradient multiplies the branch not taken by 0, and 0 * inf = NaN.

## What it does not say
A value that is not finite and reaches neither the loss nor a gradient is masked on purpose (attention
scores of -inf, a padded row) and is no finding. An infinity that was meant (a mask, a start of `jnp.inf`) is
never the origin: what makes a NaN of it is. A leaf of the batch with NaN for "missing" that is masked
is a note, a parameter that holds an infinity (a stored mask) without harm is a warning.

## Source
The two-`where` rule: JAX FAQ, "Gradients contain NaN where using where"; jax-ml/jax#347.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from gradscope.records import Cause, Measurement, NonFiniteInput, NonFiniteValue, Origin, Parameter, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.numerics.origins import born
from gradscope.rules.numerics.remedies import TWO_WHERE
from gradscope.rules.parts import source_of
from gradscope.rules.words import count, names_of, number

T = TypeVar("T")


@rule("non-finite", severity=Severity.ERROR)
def non_finite(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    poisoned = [p for p in measurement.parameters if not math.isfinite(p.gradient_max)]
    harmful = bool(poisoned) or not math.isfinite(measurement.loss)
    broken = [parameter for parameter in measurement.parameters if parameter.weight_nonfinite]
    tail = _poison(measurement, poisoned)
    origin = measurement.origin if harmful else None
    if origin is not None and origin.cause not in (Cause.PARAMETER, Cause.BATCH):
        yield born(measurement, origin, tail)
    elif broken and not (origin is not None and origin.cause is Cause.BATCH):
        yield _in_parameters(measurement, _first(broken, origin, lambda leaf: leaf.name), tail, harmful)
    elif measurement.nonfinite_inputs:
        inputs = _first(measurement.nonfinite_inputs, origin, lambda leaf: _of_batch(leaf.name))
        yield _in_batch(inputs, tail, harmful)
    elif harmful:
        yield _in_run(measurement, poisoned, tail)


def _first(leaves: Sequence[T], origin: Origin | None, name: Callable[[T], str]) -> list[T]:
    """The leaf that was found to do the harm, before the others."""
    return sorted(leaves, key=lambda leaf: origin is None or name(leaf) != origin.op)


def _poison(measurement: Measurement, poisoned: Sequence[Parameter]) -> str:
    loss = f" The loss is {number(measurement.loss)}." if not math.isfinite(measurement.loss) else ""
    if not poisoned:
        return loss
    names = names_of([parameter.name for parameter in poisoned])
    return f"{loss} It poisons the gradient of {count(len(poisoned), 'parameter')}: {names}."


def _in_parameters(measurement: Measurement, broken: Sequence[Parameter], tail: str, harmful: bool) -> Hit:
    first = broken[0]
    more = _so_do([leaf.name for leaf in broken[1:]])
    return Hit(
        message=f"{_holds(first.name, first.weight_nonfinite, first.size)} before anything ran.{more}{tail}",
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
    more = _so_do([_of_batch(leaf.name) for leaf in others])
    masked = "" if harmful else " It reaches neither the loss nor a gradient, so it is masked."
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


def _so_do(names: Sequence[str]) -> str:
    return f" So {'does' if len(names) == 1 else 'do'} {names_of(names)}." if names else ""


def _holds(name: str, bad: int, size: int) -> str:
    return (
        f"`{name}` holds {count(bad, 'value')} of {size} that {'is' if bad == 1 else 'are'} NaN or infinite"
    )


def _in_run(measurement: Measurement, poisoned: Sequence[Parameter], tail: str) -> Hit:
    forward = next((value for value in measurement.nonfinite_values if value.forward), None)
    backward = _nearest_to_loss(measurement)
    if forward is not None:
        return _at(measurement, forward, *_forward_words(measurement, forward), tail)
    if not math.isfinite(measurement.loss):
        message = (
            "The loss is not finite although the output of every layer is: its own expression makes it so."
        )
        remedy = f"Look at the loss: log of 0, division by 0, overflow of exp. {TWO_WHERE}"
        return Hit(message + tail, remedy, {"loss": measurement.loss}, explains=None)
    if backward is not None:
        message = (
            f"The loss is finite, but δ at the output of `{backward.layer}`{_step(backward)} is not: the "
            "derivative of an operation between this layer and the loss is NaN or infinite."
        )
        return _at(measurement, backward, message, TWO_WHERE, tail)
    last = poisoned[-1]
    message = f"The loss and every δ that was measured are finite, but the gradient of `{last.name}` is not."
    source = source_of(measurement, last.layer)
    return Hit(
        message + tail, TWO_WHERE, _poisoned(measurement), last.layer, last.name, source, explains=None
    )


def _forward_words(measurement: Measurement, value: NonFiniteValue) -> tuple[str, str]:
    message = f"The output of `{value.layer}`{_step(value)} is the first value that is not finite."
    if math.isfinite(measurement.loss):
        return (
            f"{message} It is masked before the loss, but not on the way back: 0 times NaN is NaN.",
            TWO_WHERE,
        )
    return message, (
        "Look at this line: an overflow (weights or input too large), a division by 0, or the log or root of "
        "a number below 0."
    )


def _at(measurement: Measurement, value: NonFiniteValue, message: str, remedy: str, tail: str) -> Hit:
    source = value.source or source_of(measurement, value.layer)
    evidence = _poisoned(measurement) | ({} if value.step is None else {"step": value.step})
    return Hit(message + tail, remedy, evidence, value.layer, None, source, explains=None)


def _poisoned(measurement: Measurement) -> dict[str, float | int | str]:
    bad = sum(not math.isfinite(parameter.gradient_max) for parameter in measurement.parameters)
    return {"loss": measurement.loss, "poisoned_parameters": bad, "parameters": len(measurement.parameters)}


def _step(value: NonFiniteValue) -> str:
    return "" if value.step is None else f" at step {value.step + 1}"


def _nearest_to_loss(measurement: Measurement) -> NonFiniteValue | None:
    order = {layer.name: place for place, layer in enumerate(measurement.layers)}
    backward = [value for value in measurement.nonfinite_values if not value.forward]
    return max(backward, key=lambda value: order.get(value.layer, -1), default=None)
