"""How a router shares rows out among experts."""

from __future__ import annotations

from gradscope.records.common import Source
from gradscope.records.record import record


@record
class Routing:
    """The largest scores of each row are chosen, over all batches that were looked at."""

    layer: str | None
    """That gives the scores."""
    source: Source | None
    """Where they are chosen from."""
    chosen: int
    """For each row."""
    rows: int
    batches: int
    loads: tuple[int, ...]
    """By expert: the rows that it was chosen for. Before any capacity drops some."""
    loads_later: tuple[int, ...] | None = None
    """The same batches, after the last step of the short training; looked at where an expert gets no row."""

    @property
    def experts(self) -> int:
        return len(self.loads)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of all choices; 1 / experts each where the load is balanced."""
        return tuple(load / (self.rows * self.chosen) for load in self.loads)

    @property
    def idle(self) -> tuple[int, ...]:
        """Experts that no row is sent to, from 0."""
        return tuple(number for number, load in enumerate(self.loads) if load == 0)

    @property
    def idle_later(self) -> tuple[int, ...] | None:
        """Those of them that were not chosen after the training, either."""
        if self.loads_later is None:
            return None
        return tuple(number for number in self.idle if self.loads_later[number] == 0)
