"""The time that a comparison may take: that of the whole command, loading and compiling included."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from time import perf_counter

from gradscope.records.options import CompareOptions

BUDGET_S = 120.0
"""Where the user sets neither a budget nor how much is trained."""
REPORT_S = 2.0
"""Kept back for the start of the interpreter, for ranking, for the report and for the end of the process."""


class BudgetSpent(Exception):
    """What comes next would end after the budget."""


@dataclass(frozen=True)
class Budget:
    """A limit on the time from `begun` on."""

    seconds: float = math.inf
    """Infinite where nothing limits the run."""
    begun: float = field(default_factory=perf_counter)
    """As `time.perf_counter` has it."""

    @property
    def is_limit(self) -> bool:
        return math.isfinite(self.seconds)

    @property
    def passed(self) -> float:
        """Seconds since the command began."""
        return perf_counter() - self.begun

    @property
    def left(self) -> float:
        """Seconds that may still be trained."""
        return self.seconds - REPORT_S - self.passed

    def require(self, ahead_s: float) -> None:
        """Raises `BudgetSpent` where what takes `ahead_s` would not end in time."""
        if ahead_s > self.left:
            raise BudgetSpent


UNLIMITED = Budget()


def budget_of(request: CompareOptions, begun: float | None) -> Budget:
    """The user's own limit. What the user sets otherwise (steps, seeds, rates) is trained however long it
    takes; without any of it the default is a limit, too."""
    seconds = request.budget_s
    if seconds is None:
        chosen = (request.steps, request.seeds, request.grid)
        seconds = BUDGET_S if all(number is None for number in chosen) else math.inf
    return Budget(seconds) if begun is None else Budget(seconds, begun)
