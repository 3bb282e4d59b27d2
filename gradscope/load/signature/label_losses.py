"""Losses of outputs and targets that look at the shapes first: JAX broadcasts what does not fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradscope.errors import GradscopeError
from gradscope.load.message_text import type_name


def cross_entropy(outputs: Any, targets: Any) -> Any:
    """Integer labels, or a distribution over the classes (one-hot)."""
    outputs, given, targets = _array(outputs), targets, jnp.asarray(targets)
    if not outputs.ndim or outputs.shape[-1] == 1:
        raise _misfit(
            "cross-entropy", outputs, targets, "One output has no classes to choose from: its softmax is 1.",
            "Use `--loss binary-cross-entropy`, or give the model one output for each class.",
        )  # fmt: skip
    if targets.shape == outputs.shape:
        return optax.softmax_cross_entropy(outputs, targets.astype(outputs.dtype))
    if targets.shape != outputs.shape[:-1]:
        raise _misfit(
            "cross-entropy", outputs, targets,
            f"Labels have shape {outputs.shape[:-1]}, one-hot labels {outputs.shape}.",
            "Drop the last axis of the labels: `y[:, 0]`." if targets.shape == (*outputs.shape[:-1], 1)
            else "Compare the shapes of labels and outputs.",
        )  # fmt: skip
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise _misfit(
            "cross-entropy", outputs, targets,
            f"Labels of that shape are numbers of classes, not {targets.dtype}.",
            "Make them integers: `y.astype(int)`.",
        )  # fmt: skip
    _require_range("cross-entropy", given, 0, outputs.shape[-1] - 1, f"{outputs.shape[-1]} classes")
    return optax.softmax_cross_entropy_with_integer_labels(outputs, targets)


def elementwise(function: Callable[..., Any], name: str, binary: bool, outputs: Any, targets: Any) -> Any:
    """A number for each output; targets of any other shape would be broadcast."""
    outputs, given, targets = _array(outputs), targets, jnp.asarray(targets)
    if outputs.shape != targets.shape:
        rows = outputs.shape[:1] == targets.shape[:1]
        fix = "Compare them, or write a `loss_fn`."
        if rows and outputs.shape == (*targets.shape, 1):
            fix = "Drop the last axis of the outputs, or give the targets one: `y[:, None]`."
        elif targets.shape == outputs.shape[:-1] and jnp.issubdtype(targets.dtype, jnp.integer):
            fix = "Integers of that shape look like numbers of classes: use `--loss cross-entropy`."
        elif rows and targets.shape == (*outputs.shape, 1):
            fix = "Drop the last axis of the targets: `y[:, 0]`."
        why = "JAX would broadcast them, and each row be compared with all."
        raise _misfit(name, outputs, targets, why, fix)
    if binary:
        _require_range(name, given, 0, 1, "two classes")
    if not jnp.issubdtype(targets.dtype, jnp.floating):
        targets = targets.astype(outputs.dtype)
    return function(outputs, targets)


def _array(outputs: Any) -> Any:
    if hasattr(outputs, "shape") and hasattr(outputs, "dtype"):
        return outputs
    raise GradscopeError(
        f"The model returns {type_name(outputs)}, not one array of outputs.",
        why="A loss that is named compares one array with the targets.",
        fix="Write a `loss_fn(params, batch)` that takes the part it needs.",
        slug="labels-do-not-fit",
    )


def _require_range(name: str, targets: Any, low: int, high: int, what: str) -> None:
    """Only where the values are known: while the loss is traced they are not."""
    if isinstance(targets, jax.core.Tracer):
        return
    values = np.asarray(targets)
    if values.size and (values.min() < low or values.max() > high):
        raise GradscopeError(
            f"The labels go from {values.min()} to {values.max()}, and {name} takes {low} to {high}.",
            why=f"The model has outputs for {what}; JAX computes a loss for any label without a word.",
            fix="Count the classes from 0, and give the model as many outputs as there are classes.",
            slug="labels-do-not-fit",
        )


def _misfit(name: str, outputs: Any, targets: Any, why: str, fix: str) -> GradscopeError:
    return GradscopeError(
        f"The targets of {name} have shape {targets.shape} ({targets.dtype}), the outputs {outputs.shape}.",
        why=why,
        fix=fix,
        slug="labels-do-not-fit",
    )
