"""The history of a training on stderr while it grows."""

from __future__ import annotations

import time

from gradscope.cli.progress import StageLine
from gradscope.recording.thinning import Thinned
from gradscope.report.shared import units
from gradscope.report.terminal.history import live_lines

EVERY_S = 0.25
SHARE = 20
"""Between two drawings: at least so long, and so many times what the last one took."""
SETTLED_S = 1.0
"""After which the speed until now says how long the rest takes."""


class LiveHistory:
    """Called with the history after each record; draws it a few times a second, where someone looks."""

    def __init__(self, line: StageLine) -> None:
        self._line = line
        self._begun = self._drawn = time.monotonic()
        self._pause = EVERY_S
        self._first: int | None = None

    def __call__(self, thinned: Thinned) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._begun = thinned.steps, now
        if now - self._drawn < self._pause:
            return
        self._line(self._left(thinned, now))
        if self._line.visible:
            self._line.below(live_lines(thinned.history(), self._line.view, self._line.height))
        self._drawn = time.monotonic()
        self._pause = max(EVERY_S, SHARE * (self._drawn - now))

    def _left(self, thinned: Thinned, now: float) -> str:
        asked, done = thinned.heading.asked, thinned.steps - (self._first or 0)
        if asked is None or not done or now - self._begun < SETTLED_S:
            return "training"
        left = (now - self._begun) / done * (asked - thinned.steps)
        return f"training, about {units.seconds(left)} left"
