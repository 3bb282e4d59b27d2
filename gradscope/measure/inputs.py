"""The gradient of the loss with respect to the inputs: what is ignored, and what a small step does.

One program gives the loss and the gradient of all of them. A step along the sign of that gradient raises the
loss the most for the size of its largest element (Goodfellow et al. 2015, *Explaining and Harnessing
Adversarial Examples*).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.records import AdversarialStep, FeatureShare, InputGradient
from gradscope.trace.compiling import compile_program
from gradscope.trace.domains.uses import BatchArray, arrays_of, uses_of
from gradscope.trace.program import Inputs, Program

STEP = 0.1
"""Of the standard deviation of an array."""
NAMED = 5


def input_arrays(program: Program, batch: Any, inputs: Inputs) -> list[BatchArray]:
    """Arrays of floats that are more than what outputs are compared with."""
    found = []
    for array in arrays_of(batch, inputs):
        value = inputs.others[array.place]
        if jnp.issubdtype(jnp.result_type(value), jnp.floating) and np.ndim(value) and np.size(value):
            uses = uses_of(program, array.place)
            if uses.is_input or not (uses.is_target or uses.is_label):
                found.append(array)
    return found


def input_gradients(
    program: Program, arrays: Sequence[BatchArray], batches: Sequence[Inputs]
) -> tuple[tuple[InputGradient, ...], AdversarialStep | None]:
    """Of all batches together; nothing where no array of floats goes in."""
    if not arrays:
        return (), None
    places = [array.place for array in arrays]

    def loss(chosen: list[Any], weights: list[Any], others: list[Any], consts: list[Any]) -> Any:
        whole = list(others)
        for place, value in zip(places, chosen, strict=True):
            whole[place] = value
        return program.loss(weights, whole, consts)

    def arguments(inputs: Inputs, chosen: list[Any]) -> tuple[Any, ...]:
        return chosen, inputs.weights, inputs.others, list(program.body.consts)

    first = [jnp.asarray(batches[0].others[place]) for place in places]
    run = compile_program(jax.value_and_grad(loss), arguments(batches[0], first), runs=1)
    values: list[list[Any]] = [[] for _ in places]
    gradients: list[list[Any]] = [[] for _ in places]
    losses = np.zeros((len(batches), 3))
    random = np.random.default_rng(0)
    for row, inputs in enumerate(batches):
        chosen = [jnp.asarray(inputs.others[place]) for place in places]
        losses[row, 0], found = run(*arguments(inputs, chosen))
        for number, (value, gradient) in enumerate(zip(chosen, found, strict=True)):
            values[number].append(np.asarray(value, np.float64))
            gradients[number].append(np.asarray(gradient, np.float64))
        signs = [np.sign(np.asarray(each, np.float64)) for each in found]
        chance = [random.choice((-1.0, 1.0), each.shape) for each in signs]
        for column, direction in ((1, signs), (2, chance)):
            moved = [_moved(value, sign) for value, sign in zip(chosen, direction, strict=True)]
            losses[row, column], _ = run(*arguments(inputs, moved))
    record = [_gradient(*each) for each in zip(arrays, values, gradients, strict=True)]
    before, after, by_chance = map(float, losses.mean(axis=0))
    return tuple(record), AdversarialStep(STEP, before, after, by_chance)


def _moved(value: Any, signs: Any) -> Any:
    return (value + STEP * jnp.std(value) * signs).astype(value.dtype)


def _gradient(array: BatchArray, values: list[Any], gradients: list[Any]) -> InputGradient:
    shape = values[0].shape[1:]
    value, gradient = (_rows(part) for part in (values, gradients))
    largest = float(np.abs(gradient).max(initial=0.0))
    squares = ((gradient / (largest if largest and np.isfinite(largest) else 1.0)) ** 2).sum(axis=0)
    whole = float(squares.sum())
    varies = (value != value[:1]).any(axis=0)
    ignored = np.flatnonzero(varies & ~(gradient != 0).any(axis=0))
    order = np.argsort(-squares, kind="stable")[: NAMED if whole else 0]
    return InputGradient(
        name=array.name,
        rows=len(value),
        features=value.shape[1],
        rms=largest * float(np.sqrt(whole / max(gradient.size, 1))),
        strongest=tuple(FeatureShare(_index(place, shape), float(squares[place] / whole)) for place in order),
        ignored=tuple(_index(place, shape) for place in ignored[:NAMED]),
        ignored_count=len(ignored),
        constant=int((~varies).sum()) if len(value) > 1 else 0,
    )


def _rows(batches: list[Any]) -> Any:
    return np.concatenate([each.reshape(len(each), -1) for each in batches])


def _index(place: Any, shape: tuple[int, ...]) -> str:
    return "".join(f"[{int(each)}]" for each in np.unravel_index(int(place), shape)) if shape else ""
