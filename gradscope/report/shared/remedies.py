"""Remedies that were tried, as every format for people words them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gradscope.records import Effect, LongerTraining, Remedies, SeedEnds, TriedRemedy
from gradscope.report.shared import units
from gradscope.report.shared.table import Column

STYLES = {
    Effect.CURES: "healthy",
    Effect.HELPS: "healthy",
    Effect.NO_GAIN: "quiet",
    Effect.WORSE: "error",
    Effect.FAILED: "quiet",
}
UNTRIED = (
    "No remedy was tried, as nothing was found and the loss falls. --exhaustive tries all that are known."
)
UNKNOWN = "No remedy is known that would be an edit of this file."
NO_FLOOR = "The loss falls below 0, so that a lower one need not be a better model: look at what it measures."
NO_CURE = "It cures no error or warning of `check`: that the loss ends lower is all that is known of it."
MOVED = 10.0
TAB = 4
HORIZON = "What a remedy brings in so few steps need not last: train on with it."


def rows(found: Remedies, show_all: bool) -> tuple[TriedRemedy, ...]:
    """Those that help, or all."""
    return found.tried if show_all else tuple(each for each in found.tried if each.helps)


def failures(shown: Sequence[TriedRemedy]) -> list[str]:
    """Why some could not be run."""
    failed = [each for each in shown if each.effect is Effect.FAILED and each.reason]
    return [f"To {each.what} cannot be run: {each.reason.rstrip('.')}." for each in failed]


def lines_of_edit(diff: str) -> list[str]:
    """As a page shows them: without the ends of Windows, and tabs as the spaces that they stand for."""
    lines = diff.removesuffix("\n").split("\n") if diff else []
    return [line[:1] + line[1:].removesuffix("\r").expandtabs(TAB) for line in lines]


def columns(shown: Sequence[TriedRemedy]) -> list[Column]:
    return [
        Column(
            ("", "effect"),
            1,
            [each.effect.value for each in shown],
            [STYLES[each.effect] for each in shown],
            False,
        ),
        Column(("loss", "after"), 0, [_end(each.training) for each in shown]),
        Column(("lowest to", "highest"), 3, [_range(each.training) for each in shown]),
        Column(("than random", "search"), 2, [_chance(each) for each in shown], right=False),
        Column(
            ("δ first", "/ last"),
            4,
            [units.cell(r) if (r := each.delta_ratio) is not None else "" for each in shown],
        ),
        Column(("", "gone"), 1, [", ".join(each.cured) for each in shown], right=False),
        Column(("new", "errors"), 2, [", ".join(each.caused) for each in shown], right=False),
    ]


def _end(training: SeedEnds | None) -> str:
    if training is None:
        return ""
    return units.cell(training.end) if math.isfinite(training.end) else "diverged"


def _range(training: SeedEnds | None) -> str:
    if training is None or len(training.ends) < 2:
        return ""
    ends = [end for end in training.ends if math.isfinite(end)]
    if len(ends) < len(training.ends):
        return f"{len(training.ends) - len(ends)} of {len(training.ends)} diverged"
    return f"{units.number(min(ends))} to {units.number(max(ends))}"


def _chance(tried: TriedRemedy) -> str:
    if tried.beats_chance is None:
        return "another loss" if tried.changes_loss and tried.helps else ""
    return "better" if tried.beats_chance else "no better"


def summary(found: Remedies) -> list[str]:
    """Sentences: how it trains as it is, with the best remedy, and by random search."""
    seeds = units.counted(len(found.seeds), "seed")
    said = [
        f"As it is, {units.counted(found.steps, 'step')} of {found.optimizer} from {seeds} take the loss "
        f"from {units.number(found.before.start)} to {_told(found.before)}."
    ]
    best = found.best
    if not found.tried:
        said.append(_none_tried(found))
        return said
    tried = "1 remedy" if len(found.tried) == 1 else f"{len(found.tried)} remedies"
    if best is None:
        said.append(f"None of {tried} helps clearly from every seed.")
    elif best.training is not None:
        how = "Its loss is another one, and goes" if best.changes_loss else "The loss goes"
        if best.effect is Effect.CURES and not best.changes_loss:
            how = "Not from every seed is the gain clear: the loss goes"
        said.append(
            f"Of {tried} the best is to {best.what}. {how} from {units.number(best.training.start)} to "
            f"{_told(best.training)}{_gone(best)}."
        )
    if best is not None and found.longer is not None:
        said.append(_later(found.longer, best))
    if best is not None and best.checked and not best.changes_loss and not best.cured:
        said.append(NO_CURE)
    if best is not None and _moved(found.delta_ratio, best.delta_ratio):
        said.append(
            f"δ at the first layer is {units.number(best.delta_ratio)} of that at the last one with it, and "
            f"{units.number(found.delta_ratio)} without."
        )
    if found.chance is not None:
        said.append(_by_chance(found))
    if not found.complete:
        said.append("It was interrupted: this is what was known by then.")
    if best is not None and best.training is not None and best.training.end < 0:
        said.append(NO_FLOOR)
    if found.untried:
        were = "was" if found.untried == 1 else "were"
        why = (
            "; --exhaustive tries every one"
            if found.in_time
            else " in the time that was given; --budget gives more"
        )
        said.append(f"{found.untried} more {were} not tried{why if found.complete else ''}.")
    return said


def _none_tried(found: Remedies) -> str:
    if not found.complete:
        return "It was interrupted before a remedy was tried."
    if not found.needed:
        return UNTRIED
    if not found.untried:
        return UNKNOWN
    known = "1 is" if found.untried == 1 else f"{found.untried} are"
    return f"The budget was spent before a remedy was tried; {known} known."


def _moved(before: float | None, after: float | None) -> bool:
    """By so much that it may be why."""
    if before is None or after is None:
        return False
    low, high = sorted((before, after))
    return high > MOVED * low


def _later(longer: LongerTraining, best: TriedRemedy) -> str:
    when = f"After {longer.steps} steps from the first seed"
    if not math.isfinite(longer.after):
        return f"{when} its loss is not finite any more."
    if best.changes_loss:
        return f"{when} its loss is {units.number(longer.after)}."
    without = units.number(longer.before) if math.isfinite(longer.before) else "not finite"
    said = f"{when} the loss is {units.number(longer.after)} with it, and {without} without"
    gained = best.effect is Effect.HELPS and not longer.lasts
    return f"{said}: what it brings does not last." if gained else f"{said}."


def _told(training: SeedEnds) -> str:
    """Median, and how far the seeds lie apart."""
    if not math.isfinite(training.end):
        return "a value that is not finite"
    spread = _range(training)
    return units.number(training.end) + (f" ({spread})" if spread else "")


def _gone(best: TriedRemedy) -> str:
    left = f"; `check` still finds {', '.join(best.remaining)}" if best.remaining else ""
    if best.caused:
        return f"; `check` then finds {', '.join(best.caused)}{left}"
    gone = "is" if len(best.cured) == 1 else "are"
    return f", and {', '.join(best.cured)} {gone} gone{left}" if best.cured else left


def _by_chance(found: Remedies) -> str:
    assert found.chance is not None
    draws, best = found.chance.draws, found.best
    lead = f"The best of {draws} random draws ({found.chance.what}) ends at {_told(found.chance.training)}"
    if best is None or best.beats_chance is None:
        return f"{lead}."
    return f"{lead}: the best remedy is {'better' if best.beats_chance else 'no better'} than that."
