"""Batches of a source, the first of which is drawn already."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.data.batches import END, BatchSource, Stream
from gradscope.load.usercode.user_code import user_code


class PrefetchedSource:
    """A source whose first batch is drawn already: the next pass starts with it, so nothing is read twice."""

    def __init__(self, source: BatchSource, place: Callable[[Any], Any] = lambda batch: batch) -> None:
        """`place` is applied to each batch that is handed out."""
        self.source, self._place = source, place
        self._waiting: tuple[Any, Iterator[Any]] | None = None

    def over(self, source: BatchSource) -> PrefetchedSource:
        """Another source, whose batches are placed alike."""
        return PrefetchedSource(source, self._place)

    def placed(self, place: Callable[[Any], Any]) -> PrefetchedSource:
        """The same batches, placed."""
        made = PrefetchedSource(self.source, place)
        if self._waiting is not None:
            made._waiting = place(self._waiting[0]), self._waiting[1]
        return made

    def first(self) -> Any:
        """It stays the first of the next pass. Raises where there is no batch at all."""
        if self._waiting is not None:
            return self._waiting[0]
        rest = self.source.start()
        batch = next(rest, END)
        if batch is END:
            raise GradscopeError(
                "batches yields no batch.",
                why="It ended before the first one.",
                fix="Check the filter or the file that the rows come from; a generator can be iterated only "
                "once, so give the function instead of its result.",
                slug="empty-batch",
            )
        self._waiting = (self._place(batch), rest)
        return self._waiting[0]

    def forget(self) -> bool:
        """Keep no batch of an iterator any longer: later passes have only what was drawn until now. False
        where the source is no iterator."""
        if not (isinstance(self.source, Stream) and self.source.walked_once):
            return False
        self.source.keeps = False
        return True

    def start(self) -> Iterator[Any]:
        waiting, self._waiting = self._waiting, None
        first, rest = waiting or (END, self.source.start())
        if first is not END:
            yield first
        while True:
            # Never around a `yield`: until a pass is gone through to its end, its caller's code would count
            # as the user's, and what it prints would go elsewhere.
            with user_code("drawing batches"):
                batch = next(rest, END)
            if batch is END:
                return
            yield self._place(batch)
