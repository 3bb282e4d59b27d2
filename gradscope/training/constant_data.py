"""Data that say nothing: labels of a single class, and examples that are all the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from gradscope.records import ConstantArray
from gradscope.trace.domains.uses import arrays_of, uses_of
from gradscope.trace.program import Inputs, Program

FEWEST_ROWS = 16
"""In all batches together."""


def constant_arrays(program: Program, first: Inputs, batches: Sequence[Any]) -> Iterator[ConstantArray]:
    """Labels that are all one number; and the inputs, where in each batch the rows of all of them are equal
    bit for bit. `batches` are those that were drawn; of the first one `first` was made."""
    flat = [jax.tree.leaves(batch) for batch in batches]
    drawn = [
        (each, [np.asarray(leaves[each.index]) for leaves in flat]) for each in arrays_of(batches[0], first)
    ]
    shapes = [np.shape(leaf) for leaf in flat[0]]
    alike = [_alike(arrays, _axis(each.index, shapes)) for each, arrays in drawn]
    if not any(alike):
        return
    inputs: list[ConstantArray] = []
    varying = False
    for (found, arrays), equal in zip(drawn, alike, strict=True):
        uses, rows = uses_of(program, found.place), sum(map(len, arrays)) if arrays[0].ndim else 0
        if uses.is_label and not uses.is_input:
            value = arrays[0].ravel()[:1]
            integers = arrays[0].dtype.kind in "iub" and arrays[0].size == len(arrays[0])
            if equal and integers and all(np.all(array == value) for array in arrays):
                yield ConstantArray(found.name, True, len(batches), rows, float(value[0]))
        elif uses.is_input or not uses.is_target:
            varying = varying or not equal
            inputs += [ConstantArray(found.name, False, len(batches), rows)] if uses.is_input else []
    yield from () if varying else inputs


def _axis(index: int, shapes: Sequence[tuple[int, ...]]) -> int:
    """Along which the rows of this array stand: the first one, unless another array of the batch is as long
    as its second one, and none as its first one, which is time then."""
    others = {shape[0] for place, shape in enumerate(shapes) if shape and place != index}
    own = shapes[index]
    return int(len(own) > 1 and own[1] in others and own[0] not in others)


def _alike(arrays: Sequence[Any], axis: int) -> bool:
    """In each batch its rows are equal, and there are enough of them."""
    return all(_rows_are_equal(array, axis) for array in arrays) and sum(map(len, arrays)) >= FEWEST_ROWS


def _rows_are_equal(array: Any, axis: int) -> bool:
    """In a batch of a single row they are not said to be."""
    return (
        array.ndim > axis
        and array.shape[axis] > 1
        and bool(array.size)
        and np.array_equal(array, np.broadcast_to(array.take([0], axis), array.shape))
    )
