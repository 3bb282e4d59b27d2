"""What is said of processes by their beats: no clock but the test's own, and no process."""

from __future__ import annotations

import pytest

from gradscope.processes.beats import Beat
from gradscope.processes.watching_peers import Watch
from gradscope.records import TargetError


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Scene:
    """Processes that beat every second; `cpu` is what each uses of a processor."""

    def __init__(self, count: int, own: tuple[int, ...], limit_s: float | None = 20.0) -> None:
        self.clock = Clock()
        self.watch = Watch(own, limit_s, self.clock)
        self.count, self.number, self.used = count, 0, [0.0] * count

    def passes(
        self, seconds: int, steps: list[int], cpu: tuple[float, ...] = (), quiet: tuple[int, ...] = ()
    ) -> tuple[int | None, TargetError] | None:
        """The first trouble, or none in that time."""
        for _ in range(seconds):
            self.clock.now += 1
            self.number += 1
            for process in range(self.count):
                self.used[process] += cpu[process] if cpu else 0.0
                if process not in quiet:
                    line, used = f"model.py:{process + 10}", self.used[process]
                    beat = Beat(process, self.count, self.number, steps[process], "measuring", line, used)
                    self.watch.heard([beat])
            found = self.watch.trouble()
            if found is not None:
                return found
        return None


def test_processes_that_compute_for_long_are_left_alone() -> None:
    assert Scene(2, (0, 1)).passes(100, [1, 1], cpu=(0.9, 0.9)) is None


def test_one_that_is_silent_is_named_with_its_last_line() -> None:
    scene = Scene(3, (0, 1, 2))
    assert scene.passes(3, [1, 1, 1], (1, 1, 1)) is None
    assert scene.passes(9, [1, 1, 1], (1, 1, 1), quiet=(2,)) is None
    found = scene.passes(1, [1, 1, 1], (1, 1, 1), quiet=(2,))
    assert found is not None
    process, error = found
    assert process == 2
    assert error.what == "Process 2 of 3 has given no sign of life for 10 s."
    assert "It was measuring, at model.py:12." in error.why
    assert "process 2: measuring, at model.py:12 (last heard of 10 s ago)" in error.details


def test_one_that_works_by_itself_keeps_the_others_waiting() -> None:
    found = Scene(2, (0, 1)).passes(30, [5, 4], cpu=(0.01, 0.9))
    assert found is not None
    assert found[0] == 1
    assert found[1].what == "Process 1 keeps the others waiting: they have not got on for 10 s."
    assert found[1].why.startswith("It is measuring, at model.py:11")


def test_the_one_that_has_come_least_far_is_named_where_none_works() -> None:
    found = Scene(3, (0, 1, 2)).passes(30, [5, 5, 3])
    assert found is not None
    assert found[0] == 2


def test_all_that_wait_at_the_same_place_are_named_together() -> None:
    found = Scene(2, (0, 1)).passes(30, [5, 5])
    assert found is not None
    assert found[0] is None
    assert found[1].what == "No process has got on for 10 s: they wait for each other."


def test_of_other_machines_nothing_is_known_without_process_0() -> None:
    """Its machine relays what they say: they are silent because it is."""
    scene = Scene(3, own=(2,))
    assert scene.passes(3, [1, 1, 1], (1, 1, 1)) is None
    found = scene.passes(20, [1, 1, 1], (1, 1, 1), quiet=(0, 1))
    assert found is not None
    assert found[0] == 0


def test_one_that_has_not_met_the_others_may_wait_longer() -> None:
    assert Scene(1, own=(0,)).passes(200, [0]) is None


def test_one_that_ends_before_its_first_beat_is_missed() -> None:
    found = Scene(2, own=(0,)).passes(20, [1, 1], (1, 1), quiet=(1,))
    assert found is not None
    assert found[0] == 1


@pytest.mark.parametrize(("limit", "expected"), [(None, 60.0), (200.0, 60.0), (10.0, 5.0)])
def test_silence_is_not_borne_longer_than_a_minute(limit: float | None, expected: float) -> None:
    scene = Scene(2, (0, 1), limit)
    scene.passes(1, [1, 1], (1, 1))
    found = scene.passes(300, [1, 1], (1, 1), quiet=(1,))
    assert found is not None
    assert found[1].what == f"Process 1 of 2 has given no sign of life for {expected:.0f} s."


def test_more_time_is_given_to_those_who_wait() -> None:
    assert Scene(2, (0, 1), 400.0).passes(190, [5, 4], cpu=(0.0, 0.9)) is None
