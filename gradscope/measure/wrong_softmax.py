"""Probabilities that are normalized over examples or places, while labels choose among classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gradscope.records import BatchLeak, BatchMix, OutputFault, OutputMismatch, Source
from gradscope.trace import jaxprs
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.objective.output import Observation

NdArray = np.ndarray[Any, Any]

ONE = 1e-3
"""Rounding of a sum of shares: half precision has three digits."""


def softmax_over_examples(
    each: Observation, labels: Sequence[NdArray], source: Source | None, layer: str | None
) -> BatchLeak | None:
    """`labels` are those of every batch, as the operation gets them."""
    found = _axes(each, labels)
    if found is None or each.form is None or found[0] != 0:
        return None
    over, along, shape = found
    return BatchLeak(
        BatchMix.SOFTMAX, source, layer, shape, over, classes=along, function=each.form.made.value
    )


def softmax_over_places(
    each: Observation, labels: Sequence[NdArray], source: Source | None, layer: str | None
) -> OutputMismatch | None:
    """The same where the axis is none of the examples: rows of an image, nodes, time steps."""
    found = _axes(each, labels)
    if found is None or each.form is None or found[0] == 0:
        return None
    over, along, shape = found
    return OutputMismatch(
        OutputFault.WRONG_AXIS,
        source,
        layer,
        function=each.form.made.value,
        classes=shape[along],
        axis=over,
        classes_axis=along,
        shape=shape,
    )


def _axes(each: Observation, labels: Sequence[NdArray]) -> tuple[int, int, tuple[int, ...]] | None:
    """The one axis that is normalized, another one that the labels choose along, and the shape of both."""
    if each.form is None or each.form.again or len(each.form.axes) != 1:
        return None
    (over,) = each.form.axes
    gathers = each.eqn.primitive.name == "gather"
    operands = [shape_of(atom) for atom in each.eqn.invars]
    shape = operands[0] if gathers else shape_of(each.eqn.outvars[0])
    found = {
        _chosen_along(each, shape, label) if gathers else _weighed_along(label, over) for label in labels
    }
    if len(found) != 1 or len(shape) < 2 or shape not in operands:
        return None
    (along,) = found
    if along is None or along == over or shape[along] < 2 or shape[over] < 2:
        return None
    return over, along, shape


def _chosen_along(each: Observation, shape: tuple[int, ...], index: NdArray) -> int | None:
    """The one axis that labels choose along, where all others count what the labels belong to."""
    about = jaxprs.lookup(each.eqn)
    parts = np.moveaxis(index, -1, 0)
    chosen = [axis for axis, part in zip(about.indexed, parts, strict=True) if not _counts(part, shape[axis])]
    windows = [axis for axis, to in enumerate(about.windows) if to is not None and about.sizes[axis] > 1]
    return chosen[0] if len(chosen) == 1 and not windows else None


def _counts(part: NdArray, size: int) -> bool:
    """0, 1, 2, ... along one of the axes, and the same along all others."""
    return any(
        length == size
        and bool((part == np.arange(size).reshape([-1 if a == axis else 1 for a in range(part.ndim)])).all())
        for axis, length in enumerate(part.shape)
    )


def _weighed_along(labels: NdArray, over: int) -> int | None:
    """The one axis along which the labels are shares of each other; they are none along `over`."""
    if not np.isfinite(labels).all() or (labels < 0).any() or over >= labels.ndim:
        return None
    shares = [
        axis
        for axis in range(labels.ndim)
        if labels.shape[axis] > 1 and np.allclose(labels.sum(axis), 1, atol=ONE)
    ]
    return shares[0] if len(shares) == 1 else None
