"""Remedies that were tried on one problem, what each brought, and what random search brings."""

from __future__ import annotations

import math
import statistics
from enum import StrEnum

from gradscope.records.record import record

CLEAR = 0.1
"""Of the loss at the start: a smaller gain may be chance."""


class Effect(StrEnum):
    """What a remedy brought, held against the same training without it."""

    HELPS = "helps"
    """A lower loss from every seed."""
    CURES = "cures"
    """Findings are gone, and the loss falls from every seed: another loss than before, or the same one, which
    ends no lower."""
    NO_GAIN = "no clear gain"
    WORSE = "worse"
    FAILED = "cannot be run"


@record
class SeedEnds:
    """The same short training from each seed."""

    starts: tuple[float, ...]
    ends: tuple[float, ...]
    """Mean loss of up to 8 batches before the first and after the last step, by seed. Not finite where the
    training diverged."""

    @property
    def start(self) -> float:
        """Median over the seeds."""
        return statistics.median(self.starts)

    @property
    def end(self) -> float:
        return statistics.median(math.inf if math.isnan(end) else end for end in self.ends)

    @property
    def falls(self) -> tuple[float, ...]:
        """By seed, the share of the loss at the start that the steps take away; minus infinity where the loss
        is not finite."""
        pairs = zip(self.starts, self.ends, strict=True)
        return tuple(
            (start - end) / abs(start) if start and math.isfinite(start - end) else -math.inf
            for start, end in pairs
        )


@record
class TriedRemedy:
    """One change of the problem, and the training with it."""

    what: str
    """An imperative: `multiply the learning rate by 10`."""
    effect: Effect
    training: SeedEnds | None
    """`None` where it could not be run."""
    rules: tuple[str, ...] = ()
    """Whose findings it was tried for."""
    changes_loss: bool = False
    """Its loss is another one than before, and their values cannot be held against each other."""
    beats_chance: bool | None = None
    """Lower from every seed than what random search ended at; `None` where the two cannot be compared."""
    cured: tuple[str, ...] = ()
    """Rules whose errors and warnings are gone under the same passes; empty where nobody looked."""
    caused: tuple[str, ...] = ()
    """Rules whose errors are new."""
    remaining: tuple[str, ...] = ()
    """Rules whose errors are still there under the same passes."""
    delta_ratio: float | None = None
    """As that of `Remedies`, with the remedy; `None` where the passes did not run."""
    checked: bool = False
    """Whether the passes ran on it."""
    diff: str = ""
    """The edit that was run: a unified diff of the user's file."""
    reason: str = ""
    """Why it could not be run."""

    @property
    def helps(self) -> bool:
        return self.effect in (Effect.HELPS, Effect.CURES)


@record
class Chance:
    """Random search: learning rates and scales of the weights drawn at random, the best of the first seed."""

    draws: int
    what: str
    training: SeedEnds


@record
class LongerTraining:
    """From the first seed, for more steps than the trials had: does the gain last?"""

    steps: int
    before: float
    """Mean loss of up to 8 batches after them, as it is."""
    after: float
    """With the best remedy."""

    @property
    def lasts(self) -> bool:
        """Whether it still ends lower; a loss that is not finite is no end."""
        return math.isfinite(self.after) and not self.after >= self.before


@record
class Remedies:
    """In the order of what they brought, those that help first."""

    steps: int
    seeds: tuple[int, ...]
    batches: int
    optimizer: str
    before: SeedEnds
    tried: tuple[TriedRemedy, ...]
    chance: Chance | None = None
    longer: LongerTraining | None = None
    """`None` where no remedy helps, there was no time, or the steps could not be taken."""
    delta_ratio: float | None = None
    """δ at the first layer over δ at the last one (rms), as it is: what of the gradient arrives there."""
    untried: int = 0
    """Remedies that were known and not tried, as others for the same findings helped already."""
    complete: bool = True
    """False where it was interrupted."""
    needed: bool = True
    """False where nothing was found and the loss falls, so that no remedy was tried."""
    in_time: bool = True
    """False where the budget was spent before all were tried that were meant to be."""
    applied: str = ""
    """The file that `--apply` wrote."""

    @property
    def best(self) -> TriedRemedy | None:
        """The first, where it helps."""
        first = self.tried[0] if self.tried else None
        return first if first is not None and first.helps else None
