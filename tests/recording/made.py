"""Recordings that are made up, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gradscope.recording.thinning import Thinned
from gradscope.records import Ending, Heading, History, RecordedLayer, Source, StepRecord
from gradscope.records.history import QUANTITIES

LAYERS = ("encoder", "head")


def heading(layers: Sequence[str] = LAYERS, *, asked: int | None = None, every: int = 1) -> Heading:
    about = tuple(RecordedLayer(name, Source("model.py", line)) for line, name in enumerate(layers, 10))
    return Heading("model.py", "your optimizer", True, about, asked=asked, every=every)


def step(number: int, loss: float = 1.0, norm: float = 1.0, **rows: Sequence[float]) -> StepRecord:
    """`rows` by quantity; 1 in each layer where a quantity is not given."""
    wide = max(map(len, rows.values()), default=len(LAYERS))
    values = tuple(tuple(rows.get(name, (1.0,) * wide)) for name in QUANTITIES)
    return StepRecord(number, (loss,), norm, values)


def history(
    steps: int,
    of: Callable[[int], StepRecord],
    layers: Sequence[str] = LAYERS,
    ending: Ending = Ending.COMPLETE,
    batches_per_pass: int | None = None,
) -> History:
    """`of(t)` is the record of step t."""
    thinned = Thinned(heading(layers, asked=steps))
    for number in range(steps):
        thinned.add(of(number))
    thinned.batches_per_pass = batches_per_pass
    return thinned.history(ending)
