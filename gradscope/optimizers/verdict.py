"""What the ranking means: the line of code to use, how sure it is, and what the ranking does not show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradscope.optimizers import tuning
from gradscope.optimizers.curves import ENOUGH_SEEDS
from gradscope.optimizers.floor import NO_FLOOR
from gradscope.optimizers.results import seed_scores, written
from gradscope.optimizers.training import cool_down, warm_up
from gradscope.records import Comparison, Contestant

NAMED = 3
"""Optimizers that a sentence names."""


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
    """The code that makes the first in rank; empty where no optimizer lowered the loss."""
    best = comparison.best
    if best is None:
        return ""
    if best.name == comparison.users:
        return "optimizer = optimizer  # unchanged"
    code = _scheduled(best, comparison)
    if comparison.clip is not None:
        code = f"optax.chain(optax.clip_by_global_norm({comparison.clip:g}), {code})"
    return code


def _scheduled(best: Contestant, comparison: Comparison) -> str:
    if comparison.schedule == "constant" or best.learning_rate is None:
        return best.code
    rate, steps = written(best.learning_rate), comparison.steps
    warm = warm_up(steps)
    if comparison.schedule == "wsd":
        down = cool_down(steps)
        parts = (
            f"optax.linear_schedule(0.0, {rate}, {warm})",
            f"optax.constant_schedule({rate})",
            f"optax.linear_schedule({rate}, 0.0, {down})",
        )
        whole = f"optax.join_schedules([{', '.join(parts)}], [{warm}, {max(steps - down, warm)}])"
        return best.code.replace(f"({rate}", f"({whole}", 1)
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
    if comparison.lacks_floor:
        yield _without_floor(comparison)
        return
    if best is None:
        yield "No optimizer lowered the loss. Run `gradscope check` on the same target."
        yield from tuning.unstable(comparison)
        return
    yield from _ties(comparison, best)
    yield from tuning.sentences(comparison)
    yield from _before_the_decay(comparison, best)
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


def _without_floor(comparison: Comparison) -> str:
    lowest = min(comparison.contestants, key=lambda row: row.final_loss)
    return (
        f"The loss shows no floor: with {lowest.name} it went from {comparison.initial_loss:.3g} to "
        f"{lowest.final_loss:.3g}, and it falls faster the higher the learning rate and no slower toward the "
        f"end. {NO_FLOOR}"
    )


def _ties(comparison: Comparison, best: Contestant) -> Iterator[str]:
    if len(comparison.contestants) < 2:
        return
    undecided = comparison.undecided
    if best.tied_with_best is None:
        yield "Undecided: one seed does not show the noise between seeds. Give --seeds 5 where seeds differ."
    elif undecided:
        yield _undecided(comparison, best, undecided)
        near = [row for row in undecided if _overlap(row, best, comparison.validated)]
        cheapest = min([best, *near], key=lambda row: row.state_bytes)
        if cheapest.state_bytes < best.state_bytes:
            yield f"Of those whose losses overlap with it, {cheapest.name} has the smallest state."
    else:
        yield f"{best.name} is significantly better than each of the others over the seeds."


def _before_the_decay(comparison: Comparison, best: Contestant) -> Iterator[str]:
    """With `wsd` one run shows both rankings: at the rate that stays, and at the end of its decay."""
    if comparison.schedule != "wsd" or len(comparison.contestants) < 2:
        return
    at = comparison.steps - cool_down(comparison.steps)
    before = {row.name: _loss_before(row, at, comparison.window) for row in comparison.contestants}
    first = min(before, key=before.__getitem__)
    if not math.isfinite(before[first]):
        return
    if first == best.name:
        lead = f"Before the decay, at step {at}"
        yield f"{lead}, {first} had the lowest training loss, too ({before[first]:.3g})."
        return
    yield (
        f"The decay flips the ranking: at step {at}, before it, {first} had the lowest training loss "
        f"({before[first]:.3g}; {best.name} {before[best.name]:.3g})."
    )


def _loss_before(row: Contestant, step: int, window: int) -> float:
    """Median over the seeds, at the row's own rate, of the mean over the window before a step."""
    whole = [trial for trial in row.judged if len(trial.losses) >= step]
    means = [sum(t.losses[max(step - window, 0) : step]) / min(window, step) for t in whole]
    return statistics.median(means) if means and all(map(math.isfinite, means)) else math.inf


def _undecided(comparison: Comparison, best: Contestant, undecided: Sequence[Contestant]) -> str:
    """One sentence; of many names the user's own and the nearest."""
    ordered = sorted(undecided, key=lambda row: row.name != comparison.users)
    named = ", ".join(_scored(row, comparison) for row in ordered[:NAMED])
    more = f" and {len(ordered) - NAMED} more" if ordered[NAMED:] else ""
    seeds = len(comparison.seeds)
    advice = f"; --seeds {ENOUGH_SEEDS} can tell smaller differences" if seeds < ENOUGH_SEEDS else ""
    return (
        f"Undecided: with {seeds} seeds the difference of {_scored(best, comparison)} from {named}{more} is "
        f"not significant{advice}."
    )


def _overlap(one: Contestant, other: Contestant, validated: bool) -> bool:
    """Whether the losses of some of their seeds lie beside each other."""
    mine, theirs = (tuple(seed_scores(row, validated).values()) for row in (one, other))
    return bool(mine and theirs) and min(mine) <= max(theirs)


def _scored(row: Contestant, comparison: Comparison) -> str:
    """The name with its loss: what is undecided need not be equal."""
    return f"{row.name} ({row.score(comparison.validated):.3g})"


def _against_users(comparison: Comparison, best: Contestant) -> Iterator[str]:
    yours = next((row for row in comparison.contestants if row.name == comparison.users), None)
    if yours is None:
        return
    if yours is best:
        yield "Your optimizer has the lowest loss of these."
        return
    if yours.tied_with_best:
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
