"""What the parent knows of one child: its stage, its answer, what it printed last, and its deadline."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

from gradscope.errors import GradscopeError
from gradscope.processes import ending, messages
from gradscope.processes.beats import Beat
from gradscope.records import TargetError
from gradscope.records.options import Task
from gradscope.serialization.codec import Mismatch

START_S = 120.0
"""For a child to say its first word; the time that the user gives begins then."""
GRACE_S = 0.5
"""The child's own limit on loading comes first: it names the line."""
TERM_S = 2.0
"""From SIGTERM to SIGKILL."""
END_S = 5.0
"""For a process to end that has given its answer."""
KEPT = 2**14
"""Bytes of what was printed last."""
MOST_AT_ONCE = 2**20


class Child:
    def __init__(
        self,
        task: Task,
        process: int,
        answers: int,
        output: int,
        echo: Callable[[bytes], None] | None = None,
    ) -> None:
        self._echo = echo
        self.task = task
        self.process = process
        self.pipes = [answers, output]
        self.stage = ""
        self.answer: messages.Answer | None = None
        self.beats: list[Beat] = []
        """Those that nobody has taken yet."""
        self._answers, self._output = answers, output
        self._unread, self._printed = b"", b""
        self._late = False
        limit = task.loading.timeout
        self._deadline = None if limit is None else time.monotonic() + limit + START_S
        self._signals = [signal.SIGTERM, signal.SIGKILL]
        for pipe in self.pipes:
            os.set_blocking(pipe, False)

    def read(self) -> list[int]:
        """Take in all that is there; the pipes that are at their end."""
        closed: list[int] = []
        printed = self._drain(self._output, closed)
        self._printed = (self._printed + printed)[-KEPT:]
        # What comes once it is late is where it was, and is told in other words; the answer is the last word.
        if self._echo is not None and printed and not self._late and self.answer is None:
            self._echo(printed)
        *lines, self._unread = (self._unread + self._drain(self._answers, closed)).split(b"\n")
        for line in lines:
            self._take(line)
        return closed

    def wait_s(self) -> float | None:
        """Seconds to the next thing that must be done about it."""
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    def keep_to_time(self) -> None:
        """End it where it is late: first so that it can say where it was, then for good."""
        if self._deadline is None or time.monotonic() < self._deadline:
            return
        self._late = True
        self._deadline = time.monotonic() + TERM_S
        self._kill(self._signals.pop(0) if len(self._signals) > 1 else signal.SIGKILL)

    def end(self) -> None:
        """Leave nothing of its group: a process that the user's code starts is in it, unless it moves out."""
        self._kill(signal.SIGKILL)
        for pipe in (*self.read(), *self.pipes):
            os.close(pipe)
        self.pipes = []

    def came_to(self, status: int) -> messages.Answer:
        """What became of it, once it has ended."""
        if self.answer is not None:
            return self.answer
        printed = self._printed.decode(errors="replace")
        stage = self.stage or "starting"
        if self._late:
            return ending.overdue(self.task.loading.timeout or 0.0, stage, printed)
        return ending.killed(status, stage, printed)

    def _take(self, line: bytes) -> None:
        try:
            message = messages.read(line)
        except (ValueError, KeyError, TypeError, Mismatch, GradscopeError) as error:
            message = TargetError.bug(f"The answer of its process cannot be read: {error}")
        if isinstance(message, list):
            self.beats += message
            return
        if not isinstance(message, str):
            self.answer = message
            self._deadline = time.monotonic() + END_S
            return
        limit = self.task.loading.timeout
        if not self.stage and limit is not None:
            self._deadline = time.monotonic() + limit + GRACE_S
        self.stage = message

    def _drain(self, pipe: int, closed: list[int]) -> bytes:
        if pipe not in self.pipes:
            return b""
        received = b""
        with contextlib.suppress(BlockingIOError):
            # A loop that prints for ever must not hold up the others.
            while len(received) < MOST_AT_ONCE or pipe == self._answers:
                part = os.read(pipe, 65536)
                if not part:
                    self.pipes.remove(pipe)
                    closed.append(pipe)
                    break
                received += part
        return received

    def _kill(self, number: int) -> None:
        with contextlib.suppress(OSError):
            os.killpg(self.process, number)


def not_started(said: str) -> TargetError:
    return TargetError.bug(f"Its process could not be started.\n{said}")
