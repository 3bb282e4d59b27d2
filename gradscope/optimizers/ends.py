"""What is said of the ends from several starts. No JAX."""

from __future__ import annotations

import math
from collections.abc import Iterator
from statistics import median

from gradscope.records import SeveralStarts

BARRIER = 0.05
"""Share of what training lowered the loss by, above which a rise on the line is called a barrier."""


def of_starts(found: SeveralStarts) -> Iterator[str]:
    if not found.seeds and found.diverged:
        yield f"From all {found.diverged} starts {found.optimizer} diverged."
        return
    if not found.seeds:
        yield (
            "Every start is the same, since the parameters are given as a value: define `init(key)` to see "
            "where several starts end."
        )
        return
    low, high = min(found.losses), max(found.losses)
    lost = f" {found.diverged} more diverged." if found.diverged else ""
    yield (
        f"From {len(found.seeds)} starts {found.optimizer} ends at losses of {low:.3g} to {high:.3g}, on the "
        f"same {_batches(found.batches)}.{lost}"
    )
    if not found.pairs:
        return
    apart = [pair.distance for pair in found.pairs]
    rises = [pair.barrier for pair in found.pairs]
    fall = found.loss_before - median(found.losses)
    yield (
        f"The ends lie {median(apart):.2g} times their norm apart; on the straight line between two of them "
        f"the loss rises by {_number(median(rises))} in the median ({_number(min(rises))} to "
        f"{_number(max(rises))}), where training lowered it by {fall:.3g}."
    )
    if not median(rises) > BARRIER * fall:
        yield "That is no barrier: along the line the ends are connected."
        return
    yield (
        "So the straight line crosses a barrier. That need not mean minima of different kinds: hidden units "
        "in another order may make the same network at another place, and no such permutation was looked for."
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "inf"


def _batches(count: int) -> str:
    return "batch" if count == 1 else f"{count} batches"
