"""What is said of how the settings were chosen: from how many, by which seeds, where one may lie beyond."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.load.message_text import listed
from gradscope.records import Comparison, Contestant


def sentences(comparison: Comparison) -> Iterator[str]:
    rows = [row for row in comparison.contestants if row.tried]
    if not rows:
        return
    yield f"{_count(rows)} {_seeds(comparison)}"
    yield from _edges(rows)
    yield from unstable(comparison)


def _count(rows: Sequence[Contestant]) -> str:
    counts = sorted({row.tried for row in rows})
    decaying = [row.name for row in rows if row.weight_decay is not None]
    what = f"learning rates, and for {listed(decaying)} weight decays" if decaying else "learning rates"
    if len(counts) == 1:
        return f"Each optimizer was tried at {counts[0]} settings: {what}."
    fewer = [row.name for row in rows if row.tried < counts[-1]]
    return f"Each optimizer was tried at {counts[-1]} settings, {listed(fewer)} at fewer: {what}."


def _seeds(comparison: Comparison) -> str:
    if set(comparison.tuning_seeds) <= set(comparison.seeds):
        return "The run that chose a setting judges it, too: no other seed gives another run."
    seeds = [str(seed) for seed in comparison.tuning_seeds]
    if len(seeds) == 1:
        return f"Seed {seeds[0]} chose among them; it judges none."
    return f"The seeds {listed(seeds)} chose among them; they judge none."


def _edges(rows: Sequence[Contestant]) -> Iterator[str]:
    rates = [row.name for row in rows if "rate" in row.at_edge]
    decays = [row.name for row in rows if "decay" in row.at_edge]
    ends = [
        *([f"the learning rate of {listed(rates)}"] if rates else []),
        *([f"the weight decay of {listed(decays)}"] if decays else []),
    ]
    if ends:
        yield f"At the edge of what was tried, so that a better one may lie beyond: {' and '.join(ends)}."
    untried = [row.name for row in rows if "untried-decay" in row.at_edge]
    if untried:
        its = "its" if len(untried) == 1 else "their"
        yield (
            f"{listed(untried)} spent all settings on the learning rate: no weight decay but {its} default "
            "was tried."
        )


def unstable(comparison: Comparison) -> Iterator[str]:
    """What fell on the seeds that tuned, and not on those that judge."""
    start = comparison.initial_loss
    for row in comparison.contestants:
        mine = (row.learning_rate, row.weight_decay)
        chose = [t for t in row.trials if t.tuning and (t.learning_rate, t.weight_decay) == mine]
        fell = chose and all(trial.final_loss < trial.losses[0] for trial in chose)
        if fell and row.final_loss >= start:
            yield (
                f"With its best setting {row.name} lowered the loss on the seeds that tuned, not on those "
                "that judge: it may lie near where training diverges."
            )
