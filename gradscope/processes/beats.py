"""Signs of life of the processes that measure one target together: how far each is, and at which line.

A thread sends them, so that they come also while the process computes or waits; what does not come from a
process that is stopped, or whose machine is gone, is seen by those who wait for it.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from gradscope.load.usercode.user_code import is_library, shown_path
from gradscope.records import TargetError
from gradscope.records.options import Peers
from gradscope.serialization.codec import decoder

MEETING = "waiting for the other processes"
EVERY_S = 0.5
AT_ONCE = 32
"""Processes that exchange their beats at that rate; more of them do so less often."""


@dataclass(frozen=True, slots=True)
class Beat:
    process: int
    count: int
    """Of processes; 1 until those of several machines have met."""
    number: int
    """Grows with each beat of a process."""
    step: int
    """How far it is: programs run, and things agreed upon."""
    stage: str
    line: str
    """Of the user's code, `model.py:12`; empty where it runs none."""
    cpu_s: float
    """That it has used so far."""
    error: TargetError | None = None
    """Why it has ended without a report."""


class Heart:
    """Beats until the process ends. `send` gets its beats, and those of processes started elsewhere."""

    def __init__(self, asked: Peers, send: Callable[[Iterable[Beat]], None]) -> None:
        self.stage = "starting"
        self.error: TargetError | None = None
        self._asked, self._send, self._number = asked, send, 0
        self._lock = threading.Lock()

    def start(self) -> None:
        for work in (self._beat_on, *(() if self._asked.one_machine else (self._exchange,))):
            threading.Thread(target=work, daemon=True).start()

    def at(self, stage: str) -> None:
        """A new stage is told at once: it may be the last that is heard."""
        self.stage = stage
        self._beat()

    def _beat(self) -> None:
        with self._lock:
            self._number += 1
            self._send([self._now()])

    def _beat_on(self) -> None:
        while True:
            self._beat()
            time.sleep(EVERY_S)

    def _exchange(self) -> None:
        """By JAX's store, which waits for ever where process 0 is stopped: a thread of its own."""
        from gradscope.peers.joined import here

        while True:
            joined = here()
            time.sleep(EVERY_S * max(1.0, joined.count / AT_ONCE))
            if joined.count == 1:
                continue
            from gradscope.peers import store

            with contextlib.suppress(RuntimeError):
                store.put(f"beats/{joined.process}", json.dumps(asdict(self._now())))
                others = [decoded(json.loads(text)) for text in store.below("beats").values()]
                self._send(beat for beat in others if beat.process != joined.process)

    def _now(self) -> Beat:
        from gradscope.peers.joined import here, steps  # JAX, which the command itself does without

        joined = here()
        process = joined.process if joined.count > 1 else self._asked.process or 0
        known = self._asked.count if self._asked.one_machine else None
        count = joined.count if joined.count > 1 else known or 1
        return Beat(
            process, count, self._number, steps(), self.stage, _line(), time.process_time(), self.error
        )


def decoded(value: Any) -> Beat:
    beat: Beat = decoder(Beat)(value, "a beat")
    return beat


def _line() -> str:
    """Where the main thread is in the user's code, innermost."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        if not _is_library(frame.f_code.co_filename):
            return f"{shown_path(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


_is_library = cache(is_library)
