"""The timer of the time limit is gone when the limit is, whenever it fired."""

from __future__ import annotations

import contextlib
import signal
from typing import Any

import pytest

from gradscope.errors import GradscopeError
from gradscope.load.usercode import time_limit as module
from gradscope.load.usercode.time_limit import time_limit

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no interval timers")

IN_THE_MIDDLE = """
def setitimer(*arguments):
    signal.raise_signal(signal.SIGALRM)
    return real(*arguments)
"""


@pytest.fixture
def fires_while_it_is_set_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the alarm came between two lines of the file itself."""
    names: dict[str, Any] = {"signal": signal, "real": signal.setitimer}
    exec(compile(IN_THE_MIDDLE, module.__file__, "exec"), names)
    monkeypatch.setattr(signal, "setitimer", names["setitimer"])


@pytest.mark.usefixtures("fires_while_it_is_set_and_stopped")
def test_an_alarm_at_the_very_end_stops_nothing_and_leaves_no_timer() -> None:
    before, done = signal.getsignal(signal.SIGALRM), []
    with time_limit(1000.0, "Waiting"):
        done.append(True)
    assert done
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


@pytest.mark.usefixtures("fires_while_it_is_set_and_stopped")
def test_an_alarm_while_user_code_runs_is_an_error_also_where_another_follows() -> None:
    with (
        pytest.raises(GradscopeError, match="Waiting took longer than 1000 s"),
        time_limit(1000.0, "Waiting"),
    ):
        signal.raise_signal(signal.SIGALRM)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_code_that_catches_the_interruption_is_told_of_when_it_ends() -> None:
    with (
        pytest.raises(GradscopeError, match="caught the interruption"),
        time_limit(1000.0, "Waiting"),
        contextlib.suppress(BaseException),
    ):
        signal.raise_signal(signal.SIGALRM)
