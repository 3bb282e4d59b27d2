"""One seed of a problem, on which changes are tried: the same steps on the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.training.batches import StepBatches
from gradscope.training.optimizer import StepRule
from gradscope.training.scales import OddArray, odd_arrays
from gradscope.training.short import steps_of
from gradscope.training.trainer import Modification, Trainer
from gradscope.training.trials import LONGER

UNCHANGED = Modification()
UNCHANGED = Modification()
Ends = tuple[float, float]
"""Mean loss of several batches before the first and after the last step."""


class Bench:
    def __init__(
        self,
        problem: Problem,
        tracer: Tracer,
        program: Program,
        flow: FlowPass,
        first: Inputs,
        batches: tuple[Sequence[Any], Iterator[Any]],
        steps: int | None,
    ) -> None:
        """`steps` is `None` where the work of one is to decide, as in the short training of a check."""
        rule = StepRule.of(problem, tracer)
        self.trainer = Trainer(flow, rule, StepBatches(problem, tracer, *batches), first.weights)
        self.steps = LONGER * steps_of(program) if steps is None else steps
        self._program, self._batch, self._first = program, batches[0][0], first
        self.batches = self.trainer.feed.used(self.steps)
        self.optimizer = rule.name

    def trained(
        self, change: Modification = UNCHANGED, scale: float = 1.0, start: list[Any] | None = None
    ) -> Ends:
        """With one thing changed: the optimizer, an array of the batch, every matrix times `scale`, or the
        weights at the start."""
        weights = self.trainer.weights if start is None else start
        if scale != 1.0:
            weights = [w * jnp.asarray(scale, w.dtype) if w.ndim > 1 else w for w in weights]
        run = self.trainer.run(self.steps, change, start=weights)
        odd = change.standardized
        before, after = (self.trainer.mean_loss(w, self.batches, odd)[0] for w in (weights, run.weights))
        return before, after

    def odd_arrays(self) -> Iterator[OddArray]:
        """Of the first batch."""
        return odd_arrays(self._program, self._batch, self._first)


def drawn(seed: int, count: int) -> list[tuple[float, float]]:
    """Factors of the learning rate within three decades to either side, scales of the weights within one."""
    numbers = np.random.default_rng(seed).uniform(-1, 1, (count, 2))
    return [(float(10 ** (3 * rate)), float(10**scale)) for rate, scale in numbers]
