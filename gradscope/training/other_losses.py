"""The loss of a problem with something in its program changed: what trials train with and are judged by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradscope.trace.changed import Changed
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.training.optimizer import Leaves
from gradscope.training.trainer import Trainer

RUNS = 1000
"""A trial is hundreds of steps: compiled as such."""


class OtherLoss:
    """Compiled once for the shapes of a program."""

    def __init__(self, program: Program, changed: Callable[[Any], Changed], inputs: Inputs, given: Any):
        """`changed(given)` is traced; `given` is any pytree of arrays that differ from call to call."""
        self._consts = list(program.body.consts)

        def loss(weights: Leaves, others: Leaves, consts: Leaves, given: Any) -> Any:
            body = Body(program.body.jaxpr, consts)
            return jnp.asarray(changed(given).run(body, [*weights, *others], {})[0][0])

        arguments = inputs.weights, inputs.others, self._consts, given
        self._run = compile_program(jax.value_and_grad(loss), arguments, runs=RUNS)

    def __call__(self, inputs: Inputs, given: Any) -> tuple[Any, Leaves]:
        return self._run.start(inputs.weights, inputs.others, self._consts, given)  # type: ignore[no-any-return]

    def mean(self, made: Trainer, weights: Leaves, batches: int, given: Sequence[Any]) -> tuple[float, float]:
        """Over the first batches with each of `given`, and the standard error of that mean over `given`."""
        inputs = [made.feed.at(step, weights) for step in range(batches)]
        found = jax.device_get([[self(each, one)[0] for each in inputs] for one in given])
        means = np.mean(np.asarray(found, np.float64), axis=1)
        error = float(np.std(means, ddof=1)) / len(means) ** 0.5 if len(means) > 1 else 0.0
        return float(np.mean(means)), error
