"""conflicting-tasks: raised by a step on all, lowered by one alone, at the start and later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gradscope.records import LayerAgreement, LossTask, ShortTraining, TaskGradients, TaskPair, TaskSteps
from gradscope.rules.base import Hit, Parts
from gradscope.rules.data_and_loss.conflicting_tasks import conflicting_tasks
from tests.rules.made import source

UP = TaskSteps(raised=0.75, before=1.0, together=1.0011, alone=0.9)
LATER = TaskSteps(raised=1.0, before=1.1, together=1.2, alone=None)
DOWN = TaskSteps(raised=0.0, before=2.0, together=1.9, alone=1.9)
PAIR = TaskPair("speed", "comfort", -0.5, 0.75, -0.6, 1.0, (LayerAgreement("trunk", -0.7, -0.8),))
FOUND = TaskGradients(
    tasks=(
        LossTask("speed", source(3), True, DOWN, DOWN),
        LossTask("comfort", source(4), True, UP, LATER),
    ),
    pairs=(PAIR,),
    batches=8,
    whole=(3.0, 2.9),
    whole_later=(2.5, 2.4),
)


def run(found: TaskGradients | None) -> list[Any]:
    training = ShortTraining(
        optimizer="adam", own=True, restored=False, steps=20, losses=(3.0, 2.9), start=3.0, end=2.5,
        batches=8, leaves=(), tasks=found, update_max=1e-3, fresh_update_max=1e-3,
    )  # fmt: skip
    return list(conflicting_tasks.run(Parts(training=training)))


def with_task(**changes: Any) -> TaskGradients:
    return replace(FOUND, tasks=(FOUND.tasks[0], replace(FOUND.tasks[1], **changes)))


def test_at_its_limits_it_names_the_task_the_other_one_and_the_layer() -> None:
    (hit,) = run(FOUND)
    assert isinstance(hit, Hit)
    assert (hit.layer, hit.source) == ("trunk", source(4))
    assert (
        "raises the task `comfort`: at the start from 1 by 0.11 %, and after 20 steps from 1.1 by 9.09 %"
        in hit.message
    )
    assert "At the start a step for it alone lowers it by 10 %." in hit.message
    assert "of its gradient and that of `speed`, over what both reach, is -0.5" in hit.message


@pytest.mark.parametrize(
    "found",
    [
        None,
        with_task(compares=False),
        with_task(start=replace(UP, raised=0.7)),
        with_task(start=replace(UP, together=1.0009)),
        with_task(start=replace(UP, alone=1.0)),
        with_task(later=replace(LATER, raised=0.7)),
        replace(FOUND, whole=(3.0, 3.0)),
        replace(FOUND, pairs=(replace(PAIR, conflicting=0.7),)),
        replace(FOUND, pairs=(replace(PAIR, conflicting_later=0.7),)),
    ],
)
def test_below_any_of_them_it_is_quiet(found: TaskGradients | None) -> None:
    assert not run(found)
