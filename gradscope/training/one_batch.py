"""Can the first batch be learned by heart? Where it cannot, other batches and more steps are no help."""

from __future__ import annotations

import math

from gradscope.records import OneBatch, ShortTraining
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import LONGER, USUAL_STEPS

ASKED = 10
"""Times as many steps as the short training has, where it was asked for."""


def one_batch(made: Trainer, record: ShortTraining, *, asked: bool) -> OneBatch | None:
    """The loss of the first batch, trained on alone. Unless asked for, `None` where there is one batch only,
    and where the short training lowers the loss well enough that nothing else was tried, either."""
    if not (math.isfinite(record.start) and record.steps):
        return None
    if not asked and not (record.trials and record.steps >= USUAL_STEPS and record.batches > 1):
        return None
    steps = (ASKED if asked else LONGER) * record.steps
    run = made.run(steps, Modification(one_batch=True))
    return OneBatch(steps=steps, start=run.losses[0], end=run.end, asked=asked)
