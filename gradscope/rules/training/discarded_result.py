"""A result is thrown away in your file, by a call that does nothing else.

## What it does
Reads the text of the file, its main guard and its training loop included, and reports statements in functions
and loops that call what has no effect but its result: `x.at[i].set(v)`, `optax.apply_updates(params,
updates)`, `state.apply_gradients(grads=grads)`, `update` of an Optax optimizer, functions of `jax.numpy`,
`jax.nn` and `jax.random`. And a loop that calls the training step of the file with parameters that no
statement of the loop changes.

## Why is this bad
Arrays, states and optimizers of JAX do not change in place as those of other libraries do. A result that is
not kept leaves everything as it was, without a word: the loss of each step is right, and stays where it is.

## How it is measured
It is read, not run. A name counts where the file gives it that value: `jnp` has to be `jax.numpy`, and a name
of the function itself is none of the file's. Statements at the level of the file are left out, since a
notebook shows results so. In 4,000 files of public JAX projects it found 13 such calls, 10 of them in tests,
most of which expect an exception; the others are a mask that is never set and a key that is split for
nothing.

## Limits
None: yes or no. It is a warning, since nobody runs these lines in a check.

## Example
    for batch in batches:
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        optax.apply_updates(params, updates)

Use instead:

        params = optax.apply_updates(params, updates)

## What it does not say
Whether the line ever runs, and what other files do.

## Source
JAX documentation, "JAX Sharp Bits: in-place updates"; Optax documentation, `apply_updates`.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule

WHY = {
    "array": "arrays of JAX do not change in place",
    "state": "a training state of Flax does not change in place",
    "optimizer": "an optimizer of Optax does not change in place, nor does its state",
    "function": "it is a function without any other effect",
}
REMEDY = {
    "array": "Keep it: `x = x.at[i].set(value)`.",
    "state": "Keep it: `state = state.apply_gradients(grads=grads)`.",
    "optimizer": "Keep both results: `updates, opt_state = optimizer.update(grads, opt_state, params)`.",
    "function": "Keep it, as in `params = optax.apply_updates(params, updates)`, or take the call away.",
}


@rule("discarded-result", severity=Severity.WARNING, uses=("training",), single_seed_suffices=True)
def discarded_result(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    del limits
    step = training.own_step if training is not None else None
    as_it_came = step is not None and all(leaf.as_it_came for leaf in step.leaves if leaf.gradient)
    for found in measurement.structure.discarded:
        if as_it_came and step is not None and found.is_an_update and step.holds(found.source):
            continue  # `broken-train-step` names it
        yield Hit(
            message=f"The result of `{found.function}(...)` is thrown away here, and {WHY[found.kind]}.",
            remedy=REMEDY[found.kind],
            evidence={},
            source=found.source,
            severity=Severity.WARNING,
        )
