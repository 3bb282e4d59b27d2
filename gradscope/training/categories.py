"""Whole numbers among the inputs that name things: the target depends on which one it is, and not on where it
stands among the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any

import jax
import numpy as np

from gradscope.records import NumberedCategories
from gradscope.trace.domains.uses import arrays_of, uses_of
from gradscope.trace.graph import upstream
from gradscope.trace.program import Inputs, Program

FEWEST = 20
"""Different numbers: of fewer, means of neighbours may be unlike by chance."""
ROWS_EACH = 5
"""On average."""
MOST_CLASSES = 20
MOST_COLUMNS = 256
Column = np.ndarray[Any, np.dtype[np.float64]]


def numbered_categories(
    program: Program, first: Inputs, batches: Sequence[Any]
) -> Iterator[NumberedCategories]:
    """By column of whole numbers that goes into a product as a number, with the target that its values tell
    most of. `batches` are those that were drawn; of the first one `first` was made."""
    flat = [jax.tree.leaves(batch) for batch in batches]
    columns: list[tuple[str, int | None, Column]] = []
    targets: list[tuple[str, Column]] = []
    for each in arrays_of(batches[0], first):
        shape = np.shape(flat[0][each.index])
        if len(shape) not in (1, 2) or prod(shape[1:]) > MOST_COLUMNS:
            continue
        parts = [np.asarray(leaves[each.index]) for leaves in flat]
        if parts[0].dtype.kind not in "iuf":
            continue
        array = np.concatenate(parts).reshape(sum(map(len, parts)), -1)
        uses = uses_of(program, each.place)
        if uses.is_input and not (uses.is_target or uses.is_label or _is_waved(program, each.place)):
            many = array.shape[1] > 1
            columns += [
                (each.name, number if many else None, column)
                for number, column in enumerate(array.T)
                if _names_things(column)
            ]
        elif not uses.is_input and array.shape[1] == 1 and (uses.is_target or uses.is_label):
            classes = uses.is_label and not (uses.is_target and array.dtype.kind == "f")
            targets += [(each.name, one) for one in _numeric(array[:, 0], classes)]
    for name, number, column in columns:
        found = [told_by(name, number, column, *each) for each in targets if len(each[1]) == len(column)]
        best = max(found, key=lambda one: one.ratio, default=None)
        if best is not None:
            yield best


def _is_waved(program: Program, place: int) -> bool:
    """Whether sines are taken of what it goes into, as of coordinates: they tell neighbours apart."""
    waves = [node for node in program.graph.nodes if node.name in ("sin", "cos")]
    position = len(program.leaves) + place
    above = [*waves, *upstream([each.operands[0] for each in waves])]
    return any(operand.position == position for node in above for operand in node.operands)


def _names_things(column: Any) -> bool:
    if not np.isfinite(column).all() or not (column == np.round(column)).all():
        return False
    return FEWEST <= len(np.unique(column)) <= len(column) / ROWS_EACH


def _numeric(target: Any, label: bool) -> Iterator[Column]:
    """Of labels 1 for each of the classes in turn, of other targets the numbers as they are."""
    if not np.isfinite(target).all():
        return
    classes = np.unique(target)
    if not label:
        yield target.astype(np.float64)
    elif 1 < len(classes) <= MOST_CLASSES:
        yield from ((target == each).astype(np.float64) for each in classes)


def told_by(
    name: str, number: int | None, column: Any, target_name: str, target: Column
) -> NumberedCategories:
    """One-way analysis of variance, and von Neumann's ratio of the means in the order of the numbers."""
    values, at, counts = np.unique(column, return_inverse=True, return_counts=True)
    means = np.bincount(at, target) / counts
    between = float(np.sum(counts * (means - target.mean()) ** 2))
    total = float(np.sum((target - target.mean()) ** 2))
    within = max(total - between, 0.0)
    free, spread = len(target) - len(values), float(np.sum((means - means.mean()) ** 2))
    noise = within / free
    ratio = between / (len(values) - 1) / noise if noise > 0 else 0.0
    steps = float(np.sum(np.diff(means) ** 2)) / (len(values) - 1)
    apart = steps / (2 * spread / (len(values) - 1)) if spread > 0 else 0.0
    return NumberedCategories(
        name=name,
        column=number,
        target=target_name,
        values=len(values),
        rows=len(target),
        share=between / total if total > 0 else 0.0,
        ratio=ratio,
        apart=apart,
    )
