"""Stops user code that runs forever."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gradscope.errors import GradscopeError
from gradscope.load.usercode.user_code import show_frames, user_frames

_AGAIN_S = 0.5


class _TimeUp(BaseException):
    """Not an `Exception`, so that the `except Exception` of user code lets it pass."""


@contextmanager
def time_limit(seconds: float | None, doing: str) -> Iterator[None]:
    """Raises a `GradscopeError` with the line the user's code stood at, after `seconds`.

    Without effect outside the main thread and on systems without interval timers. Code that never comes
    back to Python (one long call into a library) is interrupted only when it does.
    """
    if seconds is None or not _can_interrupt():
        yield
        return
    fired: list[bool] = []

    def stop(_signal: int, _frame: FrameType | None) -> None:
        fired.append(True)
        raise _TimeUp

    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-6), _AGAIN_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if fired:
            raise _too_long(doing, seconds, "It ended only because it caught the interruption.")
    except _TimeUp as up:
        lines = show_frames(user_frames(up))
        raise _too_long(doing, seconds, "It was stopped at the line below." if lines else "", lines) from None
    finally:
        signal.signal(signal.SIGALRM, before)


def _too_long(doing: str, seconds: float, why: str, details: str = "") -> GradscopeError:
    return GradscopeError(
        f"{doing} took longer than {seconds:g} s.",
        why=why,
        fix='Put training loops under `if __name__ == "__main__":`, or give more time with --timeout.',
        details=details,
        slug="timeout",
    )


def _can_interrupt() -> bool:
    return hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
