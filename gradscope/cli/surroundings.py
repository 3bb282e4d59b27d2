"""What the user's code may do to this process, undone before the result is written."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

STDOUT, STDERR = 1, 2
PATIENCE_S = 1.0
"""For threads that end once the process does."""
AGAIN_S = 0.02


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Meanwhile what is printed goes to stderr: it must not end up inside the JSON. Then files are again
    looked for from the folder that the command was called in."""
    with contextlib.chdir("."), _prints_natively_to_stderr(), contextlib.redirect_stdout(sys.stderr):
        yield


@contextlib.contextmanager
def forks_ended() -> Iterator[None]:
    """A fork that the code makes and does not end comes to the end of this, too, and goes no further."""
    ours = os.getpid()
    try:
        yield
    finally:
        if os.getpid() != ours:
            os._exit(0)


@contextlib.contextmanager
def threads_left_behind() -> Iterator[None]:
    """A thread of the code's that has no end must not keep the process from ending with its exit code.

    Python would wait for it for ever. Pools of threads end by themselves once they are asked to, so what is
    done at exit gets its time.
    """
    try:
        yield
    except SystemExit as ended:
        others = (thread for thread in threading.enumerate() if thread is not threading.main_thread())
        if any(not thread.daemon for thread in others):
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(OSError):
                    stream.flush()
            last = threading.Timer(PATIENCE_S, os._exit, [int(ended.code or 0)])
            last.daemon = True
            last.start()
        raise


@contextlib.contextmanager
def interruptions_kept() -> Iterator[None]:
    """Ctrl-C that comes while a `__del__` or a callback of the garbage collector runs, as JAX has one, is
    dropped by Python: it comes once more, as soon as that has ended."""
    before = sys.unraisablehook

    def again(dropped: sys.UnraisableHookArgs) -> None:
        if dropped.exc_type is not KeyboardInterrupt:
            before(dropped)
            return
        timer = threading.Timer(AGAIN_S, os.kill, [os.getpid(), signal.SIGINT])
        timer.daemon = True
        timer.start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def _prints_natively_to_stderr() -> Iterator[None]:
    """For libraries in C and processes that the code starts, which know nothing of `sys.stdout`."""
    if not (_is(sys.stdout, STDOUT) and _is(sys.stderr, STDERR)):
        yield
        return
    sys.stdout.flush()
    before = os.dup(STDOUT)
    os.dup2(STDERR, STDOUT)
    try:
        yield
    finally:
        _flush()
        os.dup2(before, STDOUT)
        os.close(before)


def _is(stream: object, number: int) -> bool:
    """Whether it is the stream of the process, and open: a test or a notebook has one of its own."""
    try:
        os.fstat(number)
        return bool(stream.fileno() == number)  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False


def _flush() -> None:
    """What lies in a buffer would come out after the result: that of Python, and that of C."""
    import ctypes  # only here: each command would pay for it

    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).fflush(None)
