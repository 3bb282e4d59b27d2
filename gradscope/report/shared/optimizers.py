"""The comparison of optimizers and the range test, as every format for people words them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from gradscope.records import Comparison, Contestant, RateSearch, Trial
from gradscope.report.shared import units
from gradscope.report.shared.bars import sparkline_between
from gradscope.report.shared.glyphs import Glyphs
from gradscope.report.shared.table import Column

CURVE = 16
"""Characters of a loss curve."""


def columns(found: Comparison, glyphs: Glyphs) -> list[Column]:
    """One cell for each contestant; an empty column says nothing about any."""
    rows = found.contestants

    def of(top: str, bottom: str, priority: int, cells: list[str]) -> Column:
        return Column((top, bottom), priority, cells)

    return [
        of("learning", "rate", 0, [units.number(row.learning_rate) for row in rows]),
        of("weight", "decay", 2, [_decay(row) for row in rows]),
        # What decides the rank stays longest.
        of("final", "loss", int(found.validated), [units.cell(row.final_loss) for row in rows]),
        of("lowest to", "highest", 6, [_spread(row) for row in rows]),
        of("valid.", "loss", int(not found.validated), [_validation(row) for row in rows]),
        of("to target", "steps", 1, [_until(row.steps_to_target) for row in rows]),
        of("to target", "time", 2, [_seconds(row.seconds_to_target) for row in rows]),
        of("per", "step", 5, [_seconds(row.step_seconds) for row in rows]),
        of("state", "/ params", 3, [_times(row.state_to_parameters) for row in rows]),
        of("lr within", "10% of best", 4, [_decades(row) for row in rows]),
        of("lost at", "lr / 10", 7, [_lost(row.loss_at_tenth) for row in rows]),
        of("lost at", "lr x 10", 7, [_lost(row.loss_at_tenfold) for row in rows]),
        of("", "diverged", 4, [_diverged(row) for row in rows]),
        of("evals", "/ step", 3, [_evaluations(row) for row in rows]),
        Column(("", "rate kind"), 8, [row.kind for row in rows], right=False),
        Column(("", "loss"), 5, [_curve(row, found, glyphs) for row in rows], ["bar"] * len(rows), False),
    ]


def _decay(row: Contestant) -> str:
    return "" if row.weight_decay is None else units.cell(row.weight_decay)


def _spread(row: Contestant) -> str:
    return f"{units.number(row.final_low)} to {units.number(row.final_high)}"


def _validation(row: Contestant) -> str:
    return "" if row.validation_loss is None else units.cell(row.validation_loss)


def _diverged(row: Contestant) -> str:
    return units.share(row.diverged_share) if row.diverged_share else ""


def _until(steps: float) -> str:
    return "never" if math.isinf(steps) else f"{steps:.0f}"


def _seconds(duration: float) -> str:
    if not math.isfinite(duration):
        return "never" if math.isinf(duration) else units.NOT_MEASURED
    return f"{duration * 1e6:.0f} µs" if duration < 1e-3 else units.seconds(duration)


def _times(ratio: float) -> str:
    return f"{ratio:.2g}x" if ratio else "0"


def _decades(row: Contestant) -> str:
    if row.tolerant_decades is None:
        return units.NOT_MEASURED
    more = "+" if row.tolerant_at_least else ""
    return f"{row.tolerant_decades:.1f}{more} decades"


def _lost(share: float | None) -> str:
    if share is None:
        return ""
    if share <= 0:
        return "none"
    return "all" if share >= 1.0 else f"{share:.0%}"


def _evaluations(row: Contestant) -> str:
    return f"{row.evaluations_per_step:.1f}" if row.evaluations_per_step > 1 else ""


def _curve(row: Contestant, found: Comparison, glyphs: Glyphs) -> str:
    """The median run at the best rate, on one scale for all."""
    whole = row.judged
    if not whole:
        return ""
    middle = sorted(whole, key=lambda trial: trial.final_loss)[len(whole) // 2]
    best = found.best
    low = best.final_low if best else found.initial_loss
    return sparkline_between(middle.losses, low, found.initial_loss, CURVE, glyphs)


def facts(found: Comparison) -> list[str]:
    """The terms of the comparison."""
    target = f"target loss {units.number(found.target)}"
    if not math.isfinite(found.target):
        why = "the loss shows no floor" if found.lacks_floor else "no loss was lowered"
        target = f"no target, as {why}"
    elif not found.target_is_users:
        target += " (90% of the best improvement)"
    return [
        units.counted(found.steps, "step"),
        units.counted(len(found.seeds), "seed"),
        *_tuning(found),
        f"loss at the start {units.number(found.initial_loss)}",
        target,
        f"losses are means over {units.counted(found.window, 'step')}",
        *([f"schedule {found.schedule}"] if found.schedule != "constant" else []),
        *([f"clipped at {found.clip:g}"] if found.clip is not None else []),
        f"engine {found.engine}",
        units.counted(found.compiled, "program") + " compiled",
    ]


def _tuning(found: Comparison) -> list[str]:
    counts = {row.tried for row in found.contestants if row.tried}
    if not counts:
        return []
    most = max(counts)
    others = len(set(found.tuning_seeds) - set(found.seeds))
    by = f" by {units.counted(others, 'other seed')}" if others else ""
    return [f"each tuned in {'up to ' if len(counts) > 1 else ''}{units.counted(most, 'trial')}{by}"]


def without_best(found: Comparison) -> str:
    """Why no optimizer is called the best."""
    if found.lacks_floor:
        return "no winner, because the loss shows no floor"
    return f"none of {units.counted(len(found.contestants), 'optimizer')} lowers the loss"


def standing(found: Comparison) -> str:
    """How sure the first in rank is."""
    count, undecided = len(found.contestants), len(found.undecided)
    if found.best is not None and found.best.tied_with_best is None and count > 1:
        return f"best of {count} optimizers by one seed"
    if undecided:
        return f"lowest of {count} optimizers, undecided against {undecided}"
    return f"best of {count} {'optimizer' if count == 1 else 'optimizers'}"


RateAndDecay = tuple[float, float | None]


def settings(row: Contestant) -> list[RateAndDecay]:
    """All that were tried, by rate and decay."""
    found = {(t.learning_rate, t.weight_decay) for t in row.tuned if t.learning_rate is not None}
    return sorted(found, key=lambda setting: (setting[0], setting[1] or 0.0))


def setting_text(setting: RateAndDecay) -> str:
    rate, decay = setting
    return units.number(rate) + ("" if decay is None else f", decay {units.number(decay)}")


def ended(row: Contestant, setting: RateAndDecay) -> str:
    mine = [trial for trial in row.tuned if (trial.learning_rate, trial.weight_decay) == setting]
    final = median([trial.final_loss for trial in mine])
    if not math.isfinite(final):
        return "diverged"
    validated = [trial.validation_loss for trial in mine if trial.validation_loss is not None]
    text = units.number(final)
    if validated:
        text += f", {units.number(median(validated))}"
    stopped = [trial for trial in mine if trial.stopped_early]
    return f"{text} at step {_last(stopped)}" if stopped else text


def _last(trials: Sequence[Trial]) -> int:
    return max(len(trial.losses) for trial in trials)


def median(values: Sequence[float]) -> float:
    """As the table has it: infinite where half of them are."""
    middle = sorted(values)[len(values) // 2]
    return middle if math.isinf(middle) else statistics.median(values)


def pasted(found: RateSearch) -> str:
    """The line to paste."""
    return found.line or f"optimizer = {found.code}"


def suggestion(found: RateSearch) -> str:
    seeds = units.counted(len(found.tests), "seed")
    shown = units.number(found.suggestion)
    if found.is_factor and found.learning_rate is not None:
        lead = f"A learning rate of {units.number(found.learning_rate)}, {shown} times that of your optimizer"
    elif found.is_factor:
        lead = f"{shown} times the learning rate of your optimizer, as a factor before its updates"
    else:
        lead = f"A learning rate of {shown} for {found.optimizer}"
    return (
        f"{lead}: a tenth of the {'factor' if found.is_factor else 'rate'} "
        f"with the lowest smoothed loss, median of {seeds} ({units.number(found.low)} to "
        f"{units.number(found.high)})."
    )
