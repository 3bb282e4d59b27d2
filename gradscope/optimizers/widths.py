"""The same comparison at several widths: does the best learning rate move, does the gain hold. No JAX."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradscope.load.message_text import listed
from gradscope.optimizers.curves import median
from gradscope.optimizers.results import written
from gradscope.records import Comparison, Contestant, OptimizerAtWidth

MOVED = 2.9
"""Factor between two best rates: the grid has half decades, and finer rates around its best only."""


def over_widths(found: Sequence[tuple[int, Comparison]], reference: str) -> Comparison:
    """The comparison at the largest width, with a row for each optimizer and width, and what they say.

    `reference`: the name of the optimizer over which the others gain. The widths rise.
    """
    rows = tuple(
        _row(row, width, comparison, _reference(comparison, reference))
        for width, comparison in found
        for row in comparison.contestants
    )
    whole = found[-1][1]
    said = [f"The ranking is that of width {found[-1][0]}.", *sentences(rows, reference)]
    return replace(whole, widths=rows, reference=reference, reasons=(*said, *whole.reasons))


def _reference(comparison: Comparison, name: str) -> Contestant | None:
    return next((row for row in comparison.contestants if row.name == name), None)


def _row(
    row: Contestant, width: int, comparison: Comparison, reference: Contestant | None
) -> OptimizerAtWidth:
    gains = [] if reference is None else _gains(row, reference)
    return OptimizerAtWidth(
        width=width,
        parameters=comparison.parameters,
        name=row.name,
        learning_rate=row.learning_rate,
        weight_decay=row.weight_decay,
        loss=row.score(comparison.validated),
        gain=median(gains) if gains else None,
        gain_low=min(gains, default=None),
        gain_high=max(gains, default=None),
    )


def _gains(row: Contestant, reference: Contestant) -> list[float]:
    """By seed: what it lowers the training loss by, over what the reference does; none where that is nothing
    for some seed."""
    mine = {trial.seed: trial.losses[0] - trial.final_loss for trial in row.judged}
    others = {trial.seed: trial.losses[0] - trial.final_loss for trial in reference.judged}
    seeds = mine.keys() & others.keys()
    if any(not others[seed] > 0 or not math.isfinite(mine[seed]) for seed in seeds):
        return []
    return [mine[seed] / others[seed] for seed in sorted(seeds)]


def sentences(rows: Sequence[OptimizerAtWidth], reference: str) -> Iterator[str]:
    low, high = min(row.width for row in rows), max(row.width for row in rows)
    narrow = {row.name: row for row in rows if row.width == low}
    wide = {row.name: row for row in rows if row.width == high}
    both = [(narrow[name], wide[name]) for name in narrow if name in wide]
    yield from _rates(both, low, high)
    yield from _holding([pair for pair in both if pair[0].name != reference], reference, low, high)


Pair = tuple[OptimizerAtWidth, OptimizerAtWidth]
"""One optimizer at the smallest and at the largest width."""


def _rates(both: Sequence[Pair], low: int, high: int) -> Iterator[str]:
    moved, stayed = [], []
    for one, other in both:
        if one.learning_rate is None or other.learning_rate is None:
            continue
        if not math.isfinite(one.loss) or not math.isfinite(other.loss):
            continue
        factor = other.learning_rate / one.learning_rate
        if max(factor, 1.0 / factor) < MOVED:
            stayed.append(one.name)
            continue
        rates = f"from {written(one.learning_rate)} to {written(other.learning_rate)}"
        moved.append(f"{one.name} {rates}, by a factor of {factor:.2g}")
    span = f"From width {low} to {high}"
    if moved:
        yield (
            f"{span} the best learning rate moves: {'; '.join(moved)}. A rate that was tuned on a narrow "
            "network may be wrong for a wide one; muP (Yang et al. 2022) is made for it to stay."
        )
    if stayed:
        yield f"{span} the best learning rate stays within half a decade: {listed(stayed)}."


def _holding(both: Sequence[Pair], reference: str, low: int, high: int) -> Iterator[str]:
    changed: list[str] = []
    same: list[str] = []
    for one, other in both:
        if None in (one.gain, other.gain, one.gain_low, one.gain_high, other.gain_low, other.gain_high):
            continue
        text = f"{one.name} {one.gain:.2f} to {other.gain:.2f}"
        apart = other.gain_low > one.gain_high or other.gain_high < one.gain_low  # type: ignore[operator]
        (changed if apart else same).append(text)
    lead = f"Improvement of the training loss over that of {reference}, from width {low} to {high}"
    if changed:
        yield f"{lead}, changed by more than the seeds differ: {'; '.join(changed)}."
    if same:
        yield f"{lead}, unchanged within what the seeds differ: {'; '.join(same)}."
