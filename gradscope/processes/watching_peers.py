"""Whether the processes that measure one target together get on, by their beats; and what to say if not.

A process that is gone or stopped would keep the others waiting inside a collective for ever.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gradscope.processes.beats import Beat
from gradscope.records import FailureKind, TargetError

LIMIT_S = 60.0
"""Without a sign of life, or without getting on while others wait; half of `--timeout`, where it is given."""
STARTING = "starting"
IDLE = 0.1
"""Of a processor: who waits in a collective uses less, who compiles or computes more."""


@dataclass(slots=True)
class _Seen:
    """What is known of one process, by our own clock."""

    beat: Beat
    heard: float
    moved: float
    """When it last got on, or used the processor."""

    def take(self, beat: Beat, now: float) -> None:
        if beat.number <= self.beat.number:
            return
        elapsed, used = now - self.heard, beat.cpu_s - self.beat.cpu_s
        if (beat.step, beat.stage) != (self.beat.step, self.beat.stage) or used >= IDLE * elapsed:
            self.moved = now
        self.beat, self.heard = beat, now

    @property
    def place(self) -> str:
        """Its last known one, for people."""
        return f"{self.beat.stage}, at {self.beat.line}" if self.beat.line else self.beat.stage

    def told(self, now: float) -> str:
        quiet = now - self.heard
        since = f" (last heard of {quiet:.0f} s ago)" if quiet > 2 else ""
        return f"process {self.beat.process}: {self.place}{since}"


class Watch:
    """`own` are the processes that this command started itself: it hears them without the others' help."""

    def __init__(
        self,
        own: Iterable[int | None],
        limit_s: float | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._own, self._clock = set(own), clock
        self._limit = LIMIT_S if limit_s is None else limit_s / 2
        self._quiet = min(LIMIT_S, self._limit)
        self._seen: dict[int, _Seen] = {}

    def heard(self, beats: Iterable[Beat]) -> None:
        now = self._clock()
        for beat in beats:
            self._seen.setdefault(beat.process, _Seen(beat, now, now)).take(beat, now)
            # Of one that ends before its first beat nothing would ever be heard.
            for number in range(beat.count) if len(self._seen) < beat.count else ():
                unheard = Beat(number, beat.count, -1, 0, STARTING, "", 0.0)
                self._seen.setdefault(number, _Seen(unheard, now, now))

    def last(self, process: int) -> Beat | None:
        return self._seen[process].beat if process in self._seen else None

    def errors(self) -> Mapping[int, TargetError]:
        """Of processes that say why they ended."""
        return {number: seen.beat.error for number, seen in self._seen.items() if seen.beat.error is not None}

    def silent_for(self, seconds: float) -> list[int]:
        """Those that have not been heard of for so long."""
        now = self._clock()
        found = sorted(number for number, seen in self._seen.items() if now - seen.heard >= seconds)
        # It relays what the others say: without it nothing is known of them.
        return [0] if 0 in found and 0 not in self._own else found

    def trouble(self) -> tuple[int | None, TargetError] | None:
        """The process that is at fault, if it is one, and what to say; `None` while all is well."""
        now = self._clock()
        silent = self.silent_for(self._quiet)
        if silent:
            return silent[0], self.silence(silent[0])
        # Those who have not met yet have a time of their own for it.
        met = [seen for seen in self._seen.values() if seen.beat.count > 1]
        waiting = [seen for seen in met if now - seen.moved >= self._limit]
        if not waiting:
            return None
        behind = self._behind(waiting)
        details, fix = self.places(), "A run that is only slow gets more time with --timeout."
        limit = f"{self._limit:g} s"
        if behind is None:
            what = f"No process has got on for {limit}: they wait for each other."
            why = "All have come as far, and none uses the processor."
            return None, TargetError(FailureKind.TIMEOUT, what, why, fix, details, "processes-apart")
        what = f"Process {behind.beat.process} keeps the others waiting: they have not got on for {limit}."
        doing = behind.told(now).partition(": ")[2]
        why = f"It is {doing}, and has not come as far as they have."
        error = TargetError(FailureKind.TIMEOUT, what, why, fix, details, "processes-apart")
        return behind.beat.process, error

    def silence(self, process: int) -> TargetError:
        seen, now = self._seen[process], self._clock()
        return TargetError(
            FailureKind.TIMEOUT,
            f"Process {process} of {seen.beat.count} has given no sign of life for {now - seen.heard:.0f} s.",
            f"It was {seen.place}. It is stopped or was killed, or its machine is out of reach.",
            "Look at its machine and at its own messages, and run it again.",
            self.places(),
            "processes-apart",
        )

    def gone(self, process: int) -> TargetError:
        """Where others have lost the connection to it."""
        seen = self._seen[process]
        return TargetError(
            FailureKind.KILLED,
            f"Process {process} of {seen.beat.count} is gone.",
            f"The connection to it broke; last heard, it was {seen.place}.",
            "Look at its machine and at its own messages: memory may have run out.",
            self.places(),
            "processes-apart",
        )

    def places(self) -> str:
        """Where each process is, or was."""
        now = self._clock()
        return "\n".join(self._seen[number].told(now) for number in sorted(self._seen))

    def _behind(self, waiting: list[_Seen]) -> _Seen | None:
        """Whom those wait for: one that works by itself, or the one that has come least far."""
        working = [seen for seen in self._seen.values() if seen not in waiting]
        least = min(working or waiting, key=lambda seen: seen.beat.step)
        return None if not working and all(s.beat.step == least.beat.step for s in waiting) else least
