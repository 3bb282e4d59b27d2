"""Which road a run takes follows from what was asked, and from nothing else."""

from __future__ import annotations

import pytest

from gradscope.processes.road import shares_our_process
from gradscope.records.options import LoadOptions, Task

ONE = Task("a.py", "a.py")
LIMITED = Task("a.py", "a.py", LoadOptions(timeout=3.0))


@pytest.mark.parametrize("ci", ["", "true"])
@pytest.mark.parametrize(
    ("tasks", "alone", "shares"),
    [
        ([ONE], True, True),
        ([LIMITED], True, False),
        ([ONE], False, False),
        ([ONE, ONE], False, False),
        ([ONE, LIMITED], False, False),
    ],
)
def test_only_a_single_target_without_a_time_limit_shares_our_process(
    monkeypatch: pytest.MonkeyPatch, tasks: list[Task], alone: bool, shares: bool, ci: str
) -> None:
    monkeypatch.setenv("CI", ci)
    assert shares_our_process(tasks, alone=alone) is shares
