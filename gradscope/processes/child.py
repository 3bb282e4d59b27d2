"""In the process of one target: judge it, send the answer, end."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import TextIO

from gradscope.processes import messages, prepare
from gradscope.records import TargetError
from gradscope.runs.check import check

STDIN, STDOUT, STDERR = 0, 1, 2


def main(asked: int, answers: int, output: int) -> int:
    """Read the task from one file, and write to two pipes; the exit status says nothing of the target."""
    send = _sender(answers)
    prepare.prepare_process()
    # Of a GPU each process would take three quarters at once, and the second would find none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    send(messages.stage("starting"))
    _be_alone(output)
    with os.fdopen(asked, "rb") as source:
        line = source.readline()
    send(messages.answering(judged(line, lambda stage: send(messages.stage(stage)))))
    return 0


def judged(line: bytes, progress: Callable[[str], None]) -> messages.Answer:
    """The report, or why there is none; only what ends the whole process gets past this."""
    try:
        return _checked(messages.asked_in(line), progress)
    except Exception as error:
        return TargetError.of(error)


def _checked(asked: messages.Asked, progress: Callable[[str], None]) -> messages.Answer:
    task = asked.task
    return check(task.path, task.loading, task.checking, baseline=asked.baseline, progress=progress)


def _sender(answers: int) -> Callable[[bytes], None]:
    """A fork that the user's code made comes here, too: it ends, and answers for nobody."""
    lock, ours = threading.Lock(), os.getpid()

    def send(line: bytes) -> None:
        if os.getpid() != ours:
            os._exit(0)
        left = memoryview(line)
        with lock:
            while left:
                left = left[os.write(answers, left) :]

    return send


def _be_alone(output: int) -> None:
    """What is printed goes to the pipe, and so do the lines at which the process was when it was ended."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for given, number in ((nothing, STDIN), (output, STDOUT), (output, STDERR)):
        os.dup2(given, number)
    sys.stdout, sys.stderr = _lines(STDOUT), _lines(STDERR)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    faulthandler.enable(output, all_threads=False)
    faulthandler.register(signal.SIGTERM, output, all_threads=False, chain=True)


def _lines(number: int) -> TextIO:
    """Line by line: what was printed before a kill would be lost in a buffer."""
    return open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
