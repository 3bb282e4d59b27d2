"""What the ranking means: the line of code to use, how sure it is, and what the ranking does not show."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradscope.optimizers.curves import ENOUGH_SEEDS
from gradscope.optimizers.results import written
from gradscope.optimizers.training import warm_up
from gradscope.records import Comparison, Contestant


@dataclass(frozen=True)
class EarlyEnd:
    """Why not everything was measured."""

    missing: Sequence[str]
    """The optimizers of which nothing is known."""
    budget_s: float | None
    """The budget that was spent; `None` for Ctrl-C."""

    @property
    def sentence(self) -> str:
        spent = self.budget_s
        end = "The comparison was interrupted" if spent is None else f"The budget of {spent:.0f} s was spent"
        return (
            f"{end}; not measured: {', '.join(self.missing)}."
            if self.missing
            else f"{end} before the last runs."
        )


def recommendation(comparison: Comparison) -> str:
    """The line of code that makes the first in rank; empty where no optimizer lowered the loss."""
    best = comparison.best
    if best is None:
        return ""
    if best.name == comparison.users:
        return "optimizer = optimizer  # unchanged"
    code = _scheduled(best, comparison)
    if comparison.clip is not None:
        code = f"optax.chain(optax.clip_by_global_norm({comparison.clip:g}), {code})"
    return f"optimizer = {code}"


def _scheduled(best: Contestant, comparison: Comparison) -> str:
    if comparison.schedule == "constant" or best.learning_rate is None:
        return best.code
    rate, steps = written(best.learning_rate), comparison.steps
    warm = warm_up(steps)
    schedule = (
        f"optax.cosine_decay_schedule({rate}, {steps})"
        if comparison.schedule == "cosine"
        else f"optax.warmup_cosine_decay_schedule(0.0, {rate}, {warm}, {max(steps, warm + 1)})"
    )
    return best.code.replace(f"({rate}", f"({schedule}", 1)


def reasons(comparison: Comparison, *, noisy: bool, batches: int | None = None) -> Iterator[str]:
    """Sentences below the table. `noisy`: the loss of a step depends on its batch or its key. `batches`: the
    number in one pass, where a pass ended."""
    best = comparison.best
    if best is None:
        yield "No optimizer lowered the loss. Run `gradscope check` on the same target."
        return
    yield from _ties(comparison, best)
    yield from _against_users(comparison, best)
    if noisy and any(row.code.startswith("optax.lbfgs") for row in comparison.contestants):
        yield (
            "L-BFGS estimates the curvature from successive gradients and uses a line search. Both need the "
            "same loss at every step, but here the batch or the key changes: use L-BFGS with one full batch."
        )
    yield (
        f"{_length(comparison.steps, batches)} only the beginning of training on this problem; a longer run "
        "may rank the optimizers differently."
    )


def _length(steps: int, batches: int | None) -> str:
    if batches is None or not 1 < batches < steps:
        return "1 step measures" if steps == 1 else f"{steps} steps measure"
    return f"{steps} steps, {steps / batches:.3g} passes over {batches} batches, measure"


def _ties(comparison: Comparison, best: Contestant) -> Iterator[str]:
    if len(comparison.contestants) < 2:
        return
    ties = [row for row in comparison.contestants if row.tied_with_best]
    if best.tied_with_best is None:
        yield "One seed does not show the noise between seeds, so no difference can be called significant."
    elif ties:
        names = ", ".join(_scored(row, comparison) for row in ties)
        text = (
            f"With {len(comparison.seeds)} seeds there is no significant difference between "
            f"{_scored(best, comparison)} and {names}."
        )
        cheapest = min([best, *ties], key=lambda row: row.state_bytes)
        if cheapest.state_bytes < best.state_bytes:
            text += f" Of these, {cheapest.name} has the smallest state."
        yield text + _more_seeds(comparison)
    else:
        yield f"{best.name} is significantly better than each of the others over the seeds."


def _scored(row: Contestant, comparison: Comparison) -> str:
    """The name with its loss: a tie does not mean that two losses are equal."""
    return f"{row.name} ({row.score(comparison.validated):.3g})"


def _more_seeds(comparison: Comparison) -> str:
    few = len(comparison.seeds) < ENOUGH_SEEDS
    return f" More seeds show smaller differences: --seeds {ENOUGH_SEEDS}." if few else ""


def _against_users(comparison: Comparison, best: Contestant) -> Iterator[str]:
    yours = next((row for row in comparison.contestants if row.name == comparison.users), None)
    if yours is None:
        return
    if yours is best:
        yield "Your optimizer has the lowest loss of these."
        return
    if yours.tied_with_best:
        yield (
            f"With {len(comparison.seeds)} seeds there is no significant difference between "
            f"{_scored(yours, comparison)} and {_scored(best, comparison)}."
        )
        return
    if not math.isfinite(yours.final_loss):
        yield f"Your optimizer diverged; {best.name} does not."
        return
    validated = comparison.validated
    mine, other = yours.score(validated), best.score(validated)
    what = " on validation" if validated else ""
    text = f"Your optimizer ends at {mine:.4g}{what}, {best.name} at {other:.4g}"
    if not math.isfinite(best.steps_to_target):
        yield f"{text}."
    elif math.isfinite(yours.steps_to_target):
        ratio = yours.steps_to_target / best.steps_to_target
        pace = "as many" if 0.95 <= ratio < 1.05 else f"{ratio:.1f} times the"
        yield f"{text}; it needs {pace} steps to the target loss."
    else:
        yield f"{text}; it does not reach the target loss."
