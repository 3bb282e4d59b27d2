"""What is said of a program that was verified in float64 in the place of the one that trains."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import jax.numpy as jnp

from gradscope.load.problem import Problem
from gradscope.trace.compiling import compile_program
from gradscope.trace.program import Program, Tracer
from gradscope.verification.precision import spacing

HALF = 1e-4
"""Relative spacing above which a dtype is a half precision: float16 and bfloat16."""
ROUNDINGS = 10
"""Losses that differ by more than so many roundings of the narrow dtype are those of two programs."""


def widened_notes(
    narrow: tuple[str, ...], inside: Collection[str], loss: float, own: Callable[[], float]
) -> Iterator[str]:
    """A reader should know of which program the numbers are.

    `narrow` are the dtypes that were widened, `inside` those in which the widened program computes, `loss` is
    its loss, and `own` gives that of the program as it trains.
    """
    if not narrow:
        return
    was, left = " and ".join(narrow), sorted({*inside} - {"float64"})
    still = f"; inside it the model computes in {' and '.join(left)} all the same" if left else ""
    yield f"Verified with parameters and batch widened from {was} to float64{still}."
    rounding = max(spacing(jnp.dtype(name)) for name in narrow)
    if rounding < HALF:
        return
    before = own()
    if not abs(before - loss) <= ROUNDINGS * rounding * abs(loss):
        yield (
            f"In {was} the loss is {before:.3g} and not {loss:.3g}: what is right here is right of the "
            "widened program, and the one that trains is another. `gradscope check` measures that one."
        )


def own_loss(problem: Problem, batch: Any, program: Program | None) -> float:
    """The loss in the precision that the problem has; `program` where it is traced already."""
    tracer = Tracer(problem)
    program, inputs = tracer.trace(batch) if program is None else program, tracer.inputs(batch)
    args = inputs.weights, inputs.others, list(program.body.consts)
    return float(compile_program(program.loss, args, runs=1)(*args))
