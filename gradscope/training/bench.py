"""One seed of a problem, on which changes are tried: the same steps on the same batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.training.how_many import steps_of
from gradscope.training.scales import odd_arrays
from gradscope.training.short import trainer_of
from gradscope.training.trainer import Modification
from gradscope.training.trials import LONGER

MOST_FEATURES = 64
Numbers = tuple[float, ...]
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
        """`steps` is `None` where the work of one is to decide, as in the short training of a check. Raises
        `TooLarge`."""
        self.trainer = trainer_of(problem, tracer, flow, first, batches)
        self.steps = LONGER * steps_of(program) if steps is None else steps
        self._program, self._first = program, first
        self.batches = self.trainer.feed.used(self.steps)
        self.optimizer = self.trainer.rule.name

    def trained(self, factor: float = 1.0, scale: float = 1.0, times: int = 1) -> Ends:
        """With each update times `factor`, from every matrix times `scale`, for so many times the steps."""
        weights = self.trainer.weights
        if scale != 1.0:
            weights = [w * jnp.asarray(scale, w.dtype) if w.ndim > 1 else w for w in weights]
        run = self.trainer.run(times * self.steps, Modification(factor=factor), start=weights)
        before, after = (self.trainer.mean_loss(w, self.batches)[0] for w in (weights, run.weights))
        return before, after

    def odd_arrays(self) -> Iterator[tuple[str, bool, Numbers, Numbers, Numbers, Numbers]]:
        """Of the batches: name, whether it is an input, mean and standard deviation, numbers that stand for
        missing ones and what to put there, one number or one for each feature."""
        for odd in odd_arrays(self._program, self.trainer.feed.drawn, self._first):
            mean, std = (tuple(map(float, np.ravel(each))) for each in (odd.mean, odd.std))
            medians = {fill.feature: fill.median for fill in odd.fills}
            missing = tuple({fill.value: None for fill in odd.fills})
            by_feature = tuple(medians.get(feature, each) for feature, each in enumerate(mean))
            if len(mean) <= MOST_FEATURES:
                one = len(medians) == 1
                yield odd.name, odd.is_input, mean, std, missing, (*medians.values(),) if one else by_feature


def drawn(seed: int, count: int) -> list[tuple[float, float]]:
    """Factors of the learning rate within three decades to either side, scales of the weights within one."""
    numbers = np.random.default_rng(seed).uniform(-1, 1, (count, 2))
    return [(float(10 ** (3 * rate)), float(10**scale)) for rate, scale in numbers]
