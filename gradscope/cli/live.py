"""The history of a training on stderr while it grows."""

from __future__ import annotations

import time

from gradscope.cli.progress import StageLine
from gradscope.recording.thinning import Thinned
from gradscope.report.shared import units

EVERY_S = 0.25
"""Between two drawings."""
SETTLED_S = 1.0
"""After which the speed until now says how long the rest takes."""


class LiveHistory:
    """Called with the history after each record; draws it a few times a second, where someone looks."""

    def __init__(self, line: StageLine) -> None:
        self._line = line
        self._begun = self._drawn = time.monotonic()
        self._first: int | None = None

    def __call__(self, thinned: Thinned) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first, self._begun = thinned.steps, now
        if now - self._drawn < EVERY_S:
            return
        self._drawn = now
        self._line(self._stage(thinned, now))

    def _stage(self, thinned: Thinned, now: float) -> str:
        asked, done = thinned.heading.asked, thinned.steps - (self._first or 0)
        said = f"step {units.count(thinned.steps)}"
        if asked is None:
            return said
        said += f" of {units.count(asked)}"
        if not done or now - self._begun < SETTLED_S:
            return said
        left = (now - self._begun) / done * (asked - thinned.steps)
        return f"{said}, about {units.seconds(left)} left"
