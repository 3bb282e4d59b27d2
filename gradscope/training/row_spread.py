"""How unlike the rows of a batch still are behind each layer, before and after the short training.

One forward program, run twice. It is made only where gradients are what examples give that are alike: the
gradient of a weight is the sum over examples of an outer product of its input and its δ, and where all inputs
are one vector, so is the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from gradscope.measure.output_pass import OutputPass
from gradscope.measure.readings import Reading, pooled
from gradscope.records import RowSpread
from gradscope.trace.domains.objective import examples_of
from gradscope.trace.layers import LayerGroup, Row
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import Site
from gradscope.trace.statistics import COUNT, DIRECTION, RMS, SPREAD, Floats

FEWEST_ROWS = 4
ASKED = 4
"""Matrices that are asked, the last ones."""
ALIKE = 0.03
"""Share of a gradient's norm outside of its largest outer product. It was 0.05 to 0.9 in most healthy
networks, 50 layers of ReLUs among them, and 0.002 behind layers that had made all examples alike."""


def looks_collapsed(program: Program, gradients: Sequence[Any]) -> bool:
    """Whether two of the last matrices have gradients that are outer products; that of a single one is so
    where the output has one unit or two classes."""
    last = sorted(program.layers, key=lambda group: [site.path for site in group.sites])
    matrices = [
        _matrix(gradients[leaf], group)
        for group in last
        for leaf in group.leaves
        if len(program.leaves[leaf].shape) - len(group.stack) == 2
    ]
    return sum(outside_of_a_product(np.asarray(each, np.float64)) < ALIKE for each in matrices[-ASKED:]) > 1


def _matrix(gradient: Any, group: LayerGroup) -> Any:
    """Of a stack, that of its last layer."""
    return gradient[(-1,) * len(group.stack)] if group.stack else gradient


def outside_of_a_product(matrix: Floats) -> float:
    """Share of the norm outside of the largest outer product; infinite without a norm."""
    size = float(np.linalg.norm(matrix))
    if not np.isfinite(size) or size == 0:
        return np.inf
    matrix = matrix / size
    right = matrix[np.argmax(np.sum(matrix**2, axis=1))]
    for _ in range(3):
        right = matrix.T @ (matrix @ right)
        right /= np.linalg.norm(right)
    return float(np.linalg.norm(matrix - np.outer(matrix @ right, right)))


def row_spreads(program: Program, batch: Any, first: Inputs, after: list[Any]) -> Iterator[RowSpread]:
    """In forward order, of each layer with as many rows as the last one; `after` are later weights."""
    ordered = sorted((row for group in program.layers for row in group.rows()), key=lambda row: row.order)
    rows = _rows_of(ordered, batch, examples_of(program, batch))
    if rows < FEWEST_ROWS:
        return
    run = OutputPass(program, (COUNT, RMS, SPREAD, DIRECTION))
    found = [run(Inputs(weights, first.others)) for weights in (first.weights, after)]
    for row in ordered:
        uses = [(site, mask) for site, mask in row.uses if _has_rows(site, rows)]
        before, later = (_share(each, uses) for each in found)
        if before is not None and later is not None:
            turned = (pooled(DIRECTION, [each[site.id].at(mask) for site, mask in uses]) for each in found)
            yield RowSpread(row.name, before, later, *map(float, turned))


def _rows_of(ordered: Sequence[Row], batch: Any, examples: int) -> int:
    """Those of the last layer, where the batch has an array of so many; else its examples."""
    lengths = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(batch)}
    last = ordered[-1].uses if ordered else ()
    return last[-1][0].value[0] if last and last[-1][0].value[:1] in lengths - {()} else examples


def _has_rows(site: Site, rows: int) -> bool:
    real = site.dtype is not None and np.dtype(site.dtype).kind != "c"
    return real and site.value[:1] == (rows,) and 0 not in site.members and site.op != "state"


def _share(found: dict[int, Reading], uses: Any) -> float | None:
    """Spread over rms; `None` where it is not a number."""
    readings = [found[site.id].at(mask) for site, mask in uses]
    size = pooled(RMS, readings)
    share = pooled(SPREAD, readings) / size if size else np.nan
    return float(share) if np.isfinite(share) else None
