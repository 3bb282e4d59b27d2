"""How many steps a training takes, by what one of them computes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gradscope.training.how_many import CALLED_FOR, WORK, steps_of, steps_of_trial


def program(operations: float) -> Any:
    return SimpleNamespace(leaves=[SimpleNamespace(size=0)], operations=operations)


SMALL, LARGE, HUGE = program(1e3), program(WORK / 3), program(CALLED_FOR)


def test_a_trial_takes_the_steps_that_a_large_step_leaves_no_time_for_elsewhere() -> None:
    assert (steps_of(SMALL), steps_of_trial(SMALL, 20)) == (20, 100)
    assert steps_of(LARGE) == 3
    found = steps_of_trial(LARGE, 3)
    assert found is not None
    assert 20 <= found < 100


@pytest.mark.parametrize(("which", "steps"), [(HUGE, 3), (SMALL, 3), (SMALL, 0)])
def test_no_trial_of_steps_that_nobody_can_afford_or_wants(which: Any, steps: int) -> None:
    assert steps_of_trial(which, steps) is None


def test_more_steps_that_were_asked_for_make_a_trial_longer() -> None:
    assert steps_of_trial(HUGE, 40) == 200
