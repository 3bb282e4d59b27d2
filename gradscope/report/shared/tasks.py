"""Agreement of tasks by layer, as every format for people words it."""

from __future__ import annotations

from gradscope.records import ShortTraining, TaskPair
from gradscope.report.shared import units
from gradscope.report.shared.table import Column, SmallTable

MOST_PAIRS = 3
"""That stand beside each other; of more the ones that disagree most."""


def task_table(training: ShortTraining | None) -> SmallTable | None:
    """`None` where the loss is one task, or no two tasks have gradients to compare."""
    found = None if training is None else training.tasks
    if training is None or found is None:
        return None
    every = [pair for pair in found.pairs if pair.cosine is not None or pair.later is not None]
    if not every:
        return None
    pairs = sorted(every, key=_least)[:MOST_PAIRS]
    names = list(dict.fromkeys(each.layer for pair in pairs for each in pair.layers))
    columns = []
    for place, pair in enumerate(pairs):
        of_layer = {each.layer: each for each in pair.layers}
        title = f"{pair.first} × {pair.second}"
        start = [pair.cosine, *(of_layer[name].cosine if name in of_layer else None for name in names)]
        later = [pair.later, *(of_layer[name].later if name in of_layer else None for name in names)]
        columns.append(Column((title, "cosine"), 2 * place, [_cosine(each) for each in start]))
        columns.append(Column(("", "later"), 2 * place + 1, [_cosine(each) for each in later]))
    steps = units.counted(training.steps, "step")
    told = [
        f"{pair.first} and {pair.second} disagree on {units.share(pair.conflicting)} of the batches, and on "
        f"{units.share(pair.conflicting_later)} later"
        for pair in pairs
    ]
    more = len(every) - len(pairs)
    rest = f" {units.counted(more, 'further pair')} in the JSON." if more else ""
    return SmallTable(
        "Tasks",
        "layer",
        ["all that both reach", *names],
        columns,
        [-2.0, *([0.0] * len(names))],
        "",
        heading="Tasks: cosine of their gradients",
        said=f"Mean over {_batches(found.batches)}, at the start and after {steps} "
        f"(later); below 0 they disagree. {'; '.join(told)}.{rest}",
    )


def _batches(amount: int) -> str:
    return "1 batch" if amount == 1 else f"{amount} batches"


def _least(pair: TaskPair) -> float:
    return min((each for each in (pair.cosine, pair.later) if each is not None), default=0.0)


def _cosine(value: float | None) -> str:
    return units.NOT_MEASURED if value is None else f"{value:.2f}"
