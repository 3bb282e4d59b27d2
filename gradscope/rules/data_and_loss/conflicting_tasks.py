"""A step on the whole loss raises one of its tasks, whose gradient disagrees with another's.

## What it does
Where the loss is a sum of several tasks, reports one whose part of the loss a step of the optimizer on all of
them raises, on most batches, while the same step for it alone would lower it.

## Why is this bad
Layers that tasks share get the sum of their gradients. Where two of these point away from each other, what
one task gains the other loses; a task that is weighted less is unlearned, and the loss as a whole falls all
the same, so that nothing shows in its curve.

## How it is measured
A task is a summand of the loss that compares what the model puts out with arrays of the batch, and that is a
scalar of the auxiliary output (`return total, {"depth": a, "normals": b}`), which names it; or that has a
gradient at some layer where the others have none, a head of its own. Penalties, divergences of a code,
entropies, and the halves of one likelihood are none. The loss is linear in its summands, so that a
task's part of the gradient is the derivative of what it adds. On each batch of the short training, at its
start and after its last step: the cosine of the tasks' gradients, over all parameters that both reach and by
layer; and one step of the file's optimizer, with its state there, once on the whole loss and once for each
task alone. The table of tasks in the report has the cosines.

## Limits
At the start and at the end of the short training (of 20 steps or more): on `share = 0.75` of the batches the
step on the whole loss raises what the task adds, on the mean of them by `rise = 1e-3` of it or more, and the
step for it alone lowers that (at the start, before the state of the optimizer holds gradients of the whole);
the step on the whole loss lowers the whole loss; and on that share of the
batches the cosine with one same other task is below 0. Sources: choices; a step raises a task of random
gradients on half of the batches. It is tried, and a note all the same: a trade between tasks may be meant.

## Example
    rating = h @ params["head"]                       # one output for both
    return 3 * mse(rating, batch["speed"]) + mse(rating, batch["comfort"])

Use instead, for instance, a head for each task:

    speed, comfort = h @ params["speed"], h @ params["comfort"]

## What it does not say
Which of the remedies helps. That tasks do not hinder each other later on: a cosine changes in training, and
where a compromise is reached gradients of tasks oppose each other and no step raises one. Tasks inside of
loops and branches are not told apart, nor more than the first four.

## Source
Yu et al. 2020, *Gradient Surgery for Multi-Task Learning*, arXiv:2001.06782 (conflict: a cosine below 0);
Sener and Koltun 2018, *Multi-Task Learning as Multi-Objective Optimization*, arXiv:1810.04650.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import LossTask, Severity, ShortTraining, TaskGradients, TaskPair, TaskSteps
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("conflicting-tasks", severity=Severity.NOTE, needs=("training",), share=0.75, rise=1e-3)
def conflicting_tasks(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    found = training.tasks
    if found is None or not _falls(found):
        return
    for task in found.tasks:
        if not (task.compares and _raised(task.start, limits) and _raised(task.later, limits)):
            continue
        pairs = [pair for pair in found.pairs if task.name in (pair.first, pair.second)]
        against = [pair for pair in pairs if _opposed(pair, limits["share"])]
        if against:
            worst = min(against, key=lambda pair: pair.cosine or 0.0)
            yield _hit(task, worst, found, training, limits)


def _falls(found: TaskGradients) -> bool:
    return all(after < before for before, after in (found.whole, found.whole_later))


def _raised(steps: TaskSteps, limits: Limits) -> bool:
    rises = steps.together - steps.before >= limits["rise"] * abs(steps.before) > 0
    return rises and steps.raised >= limits["share"] and (steps.alone is None or steps.alone < steps.before)


def _opposed(pair: TaskPair, share: float) -> bool:
    return min(pair.conflicting, pair.conflicting_later) >= share


def _hit(
    task: LossTask, pair: TaskPair, found: TaskGradients, training: ShortTraining, limits: Limits
) -> Hit:
    other = pair.second if pair.first == task.name else pair.first
    cosines = [each for each in pair.layers if each.cosine is not None]
    worst = min(cosines, key=lambda each: each.cosine or 0.0, default=None)
    lowest = f", lowest at `{worst.layer}` ({number(worst.cosine or 0.0)})" if worst is not None else ""
    start, later = task.start, task.later
    return Hit(
        message=(
            f"A step of {training.optimizer} on the whole loss raises the task `{task.name}`: at the start "
            f"from {number(start.before)} by {_share(start.together, start.before)}, and after "
            f"{training.steps} steps from {number(later.before)} by {_share(later.together, later.before)} "
            f"({_means(found.batches)}). At the start a step for it alone lowers it by "
            f"{_share(start.alone or 0.0, start.before)}. The cosine of its gradient and that of "
            f"`{other}`, over what both reach, is {number(pair.cosine or 0.0)} at the start{lowest}, and "
            f"below 0 on {pair.conflicting:.0%} of the batches."
        ),
        remedy=(
            "If both are to be learned, these may help: a head, or more layers, of its own for each task; a "
            f"larger factor on `{task.name}`; gradients that are projected off each other (PCGrad, Yu et al. "
            "2020)."
        ),
        evidence={
            "raised": min(start.raised, task.later.raised),
            "before": start.before,
            "together": start.together,
            "alone": start.alone or 0.0,
            "cosine": pair.cosine or 0.0,
            "limit": limits["share"],
        },
        layer=None if worst is None else worst.layer,
        source=task.source,
        layers=tuple(each.layer for each in pair.layers),
    )


def _share(after: float, before: float) -> str:
    return f"{number(100 * abs(after - before) / abs(before))} %"


def _means(batches: int) -> str:
    return "on one batch" if batches == 1 else f"means of {batches} batches, each by itself"
