"""Stops user code that runs forever."""

from __future__ import annotations

import signal
import threading
from contextlib import AbstractContextManager, nullcontext
from types import FrameType, TracebackType
from typing import Any

from gradscope.errors import GradscopeError
from gradscope.load.usercode.user_code import show_frames, user_frames

_AGAIN_S = 0.5


class _TimeUp(BaseException):
    """Not an `Exception`, so that the `except Exception` of user code lets it pass."""


def time_limit(seconds: float | None, doing: str) -> AbstractContextManager[None]:
    """Raises a `GradscopeError` with the line the user's code stood at, after `seconds`.

    Without effect outside the main thread and on systems without interval timers. Code that never comes
    back to Python (one long call into a library) is interrupted only when it does.
    """
    return nullcontext() if seconds is None or not _can_interrupt() else _Limit(seconds, doing)


class _Limit(AbstractContextManager[None]):
    """The timer repeats, for user code that catches everything: it may fire at any line, these included."""

    def __init__(self, seconds: float, doing: str) -> None:
        self._seconds, self._doing = seconds, doing
        self._interrupted = False
        self._before: Any = None

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGALRM, self._stop)
        signal.setitimer(signal.ITIMER_REAL, max(self._seconds, 1e-6), _AGAIN_S)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, self._before)
        if isinstance(error, _TimeUp):
            lines = show_frames(user_frames(error))
            why = "It was stopped at the line below." if lines else ""
            raise _too_long(self._doing, self._seconds, why, lines) from None
        if error is None and self._interrupted:
            why = "It ended only because it caught the interruption."
            raise _too_long(self._doing, self._seconds, why)

    def _stop(self, _signal: int, frame: FrameType | None) -> None:
        # The lines above set and stop the timer: left by an exception they would leave it running, and the
        # handler that was there before may be the one that ends the process.
        if frame is None or frame.f_code.co_filename != __file__:
            self._interrupted = True
            raise _TimeUp


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
