"""The sentence on a short training of another program."""

from __future__ import annotations

from gradscope.records import ShortTraining, TriedVariant
from gradscope.rules.words import number


def compared(tried: TriedVariant | None, training: ShortTraining | None, how: str, why: str = "") -> str:
    """Begins with a blank; `how` the program was changed, after `with`; `why` it was not tried, if known."""
    if tried is None or training is None:
        reason = why or ("no short training was run" if training is None else "")
        return f" Whether it trains better with {how} was not tried{f': {reason}' if reason else ''}."
    return (
        f" With {how}, {tried.steps} steps of {training.optimizer} take the loss from {number(tried.start)} "
        f"to {number(tried.end)}; as it is, from {number(tried.start_without)} to "
        f"{number(tried.end_without)}."
    )
