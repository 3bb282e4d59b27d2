"""Steps of the optimizer: those before anything is measured, and the short training of a check."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from gradscope.errors import GradscopeError
from gradscope.load.usercode.fault import headline
from gradscope.measure.flow import Begun
from gradscope.records import Skipped, Timing
from gradscope.records.progress import Progress
from gradscope.runs.preparing import Prepared
from gradscope.training.optimizer import RefusedStep, StepRule
from gradscope.training.room import TooLarge
from gradscope.training.short import Trained, short_training, trained_from

OF_AFTER_STEPS = (
    "The steps of --after-steps could not be taken.",
    "Without --after-steps the gradients are measured where the params are.",
)
OF_TRIALS = (
    "The model could not be trained as it is, so that no remedy can be tried.",
    "`gradscope check` says what else it sees; another optimizer in the file may be able to make a step.",
)


def after_steps(prepared: Prepared, steps: int, progress: Progress) -> Prepared:
    """The same problem where so many steps of its optimizer (or of Adam) lead."""
    progress(f"training {steps} steps")
    start = time.perf_counter()
    pieces = prepared.problem, prepared.tracer, prepared.flow, prepared.inputs[0]
    with trainable(OF_AFTER_STEPS):
        run = trained_from(*pieces, (prepared.batches, prepared.rest), steps)
    name = StepRule.of(prepared.problem, prepared.tracer).name
    note = (
        f"Measured after {steps} steps of {name}: the loss of the first batch went from {run.losses[0]:.3g} "
        f"to {run.end:.3g}."
    )
    return replace(
        prepared,
        problem=prepared.problem.in_training(run.state),
        inputs=[replace(each, weights=run.weights) for each in prepared.inputs],
        notes=(*prepared.notes, note),
        timing=prepared.timing.plus(Timing(train_s=time.perf_counter() - start)),
    )


@contextmanager
def trainable(about: tuple[str, str] = OF_TRIALS) -> Iterator[None]:
    """What keeps steps from being taken is told by `about`: what could not be done, and what to do."""
    try:
        yield
    except TooLarge as reason:
        raise _no_steps(f"{str(reason).capitalize()}.", *about) from None
    except Exception as error:  # an optimizer may ask for anything
        raise _no_steps(f"{first_line(error)}.", *about) from error


def _no_steps(why: str, what: str, fix: str) -> GradscopeError:
    return GradscopeError(what, why=why, fix=fix, slug="unfit-optimizer")


def first_line(error: Exception) -> str:
    """Of what the optimizer raised, which an error of ours may be wrapped around."""
    inner = error.__cause__ if isinstance(error, GradscopeError) and error.__cause__ else error
    return headline(inner)


def trained(
    prepared: Prepared, steps: int | None, begun: Begun | None, progress: Progress
) -> tuple[Trained | None, tuple[Skipped, ...]]:
    """The short training, or why it could not be run; `begun` is what the flow pass hands out of the first
    batch."""
    if steps == 0:
        return None, ()
    progress("training a few steps")
    try:
        found = short_training(*prepared.for_training, steps, begun)
    except TooLarge as reason:
        return None, (Skipped("training", str(reason)),)
    except Exception as error:  # an optimizer may ask for anything: a Hessian, labels
        why = f": {error.why_not}" if isinstance(error, RefusedStep) else ""
        said = f"the optimizer could not make a step{why} ({first_line(error)})"
        return None, (Skipped("training", said),)
    return found, found.skipped
