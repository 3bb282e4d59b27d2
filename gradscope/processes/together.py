"""One target, measured by several processes together: those that this command starts, watched.

Each command starts its own part: all of them on this machine, or one where a cluster runs the command once
for each. It has no JAX in it, so that it can say what has become of them: JAX ends a process without a word
of Python's where another one is gone.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from dataclasses import replace

from gradscope.processes.beats import MEETING
from gradscope.processes.messages import Asked
from gradscope.processes.scheduling import Children
from gradscope.processes.starting import ServerLost, Starter
from gradscope.processes.watching import Child, not_started
from gradscope.processes.watching_peers import Watch
from gradscope.records import FailureKind, Outcome, TargetError
from gradscope.records.options import Peers
from gradscope.serialization.suite_json import outcome_of

TICK_S = 0.25
SETTLE_S = 3.0
"""From the first process that ends without a report: another one may have ended before, and made it fail."""
AWAY_S = 2.0
"""Without a beat, where one process has failed: that one is not there any more."""
NOT_MET = TargetError(
    FailureKind.TIMEOUT,
    "The processes have not met.",
    "JAX ended this one while it waited for the others, for which it has 300 s.",
    "Start as many as --processes says, each with a --process-id of its own, and let all of them reach the "
    "address of process 0.",
    slug="processes-apart",
)
_GLOO = b"[Gloo] Rank "
_OF_OTHERS = re.compile(r"gloo|connection (closed|reset|refused)|coordination|socket closed|SIGABRT", re.I)


def parts(peers: Peers) -> list[Peers]:
    """What each process that this command starts is told."""
    if peers.process is not None or peers.count is None:
        return [peers]
    address = f"127.0.0.1:{_free_port()}"
    return [replace(peers, coordinator=address, process=i, one_machine=True) for i in range(peers.count)]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Together(Children):
    """The outcome of a target, once its processes are through, or one of them is not."""

    def __init__(
        self,
        asked: Asked,
        peers: Peers,
        progress: Callable[[str], None],
        start: Callable[[], Starter],
        echo: Callable[[bytes], None] | None = None,
    ) -> None:
        told = parts(peers)
        super().__init__([replace(asked, peers=each) for each in told], len(told), progress, start, echo)
        self._numbers = [each.process for each in told]
        self._watch = Watch(self._numbers, asked.task.loading.timeout)
        self._failed: float | None = None
        self.speaks = peers.process in (None, 0)
        """Whether this command reports: that of process 0, or any that knows of trouble with process 0."""

    def outcome(self) -> Outcome:
        while len(self._outcomes) < len(self._asked):
            try:
                self._fill()
                self._listen()
                self._collect()
            except ServerLost as lost:
                return self._outcome(not_started(str(lost)))
            self._learn()
            error = self._trouble()
            if error is not None:
                return self._outcome(error)
        error = self._failure()
        return self._outcomes[0] if error is None else self._outcome(error)

    def _wait_s(self) -> float:
        return min(super()._wait_s(), TICK_S)

    def _echo_of(self, place: int) -> Callable[[bytes], None] | None:
        echo = self._echo
        return None if echo is None else _Spoken(echo, lambda: self._number(place) == 0)

    def _tell(self, child: Child) -> None:
        place = next(place for place, each in self._children.values() if each is child)
        if place == 0:
            count = self._asked[0].peers.count if self._asked[0].peers else None
            target = child.task.target
            shown = f"{target} by {count} processes" if count else target
            self._progress(f"{shown}: {child.stage}")

    def _learn(self) -> None:
        for place, child in self._children.values():
            beats, child.beats = child.beats, []
            for beat in beats:
                self._watch.heard([beat])
            if self._numbers[place] is None and (mine := [b for b in beats if b.count > 1]):
                self._numbers[place] = mine[0].process
                self.speaks = mine[0].process == 0

    def _number(self, place: int) -> int:
        return self._numbers[place] or 0

    def _trouble(self) -> TargetError | None:
        """Why to end now, if there is a reason to."""
        found = self._watch.trouble()
        if found is not None:
            at_fault, error = found
            self.speaks = self.speaks or at_fault == 0
            return error
        failed = any(outcome.error for outcome in self._outcomes.values()) or self._watch.errors()
        if not failed:
            return None
        now = time.monotonic()
        self._failed = self._failed or now
        return self._failure() if now - self._failed >= SETTLE_S else None

    def _failure(self) -> TargetError | None:
        """The error of the process that failed by itself: what others say then is that it is gone."""
        known = dict(self._watch.errors())
        ended = {self._number(place): outcome.error for place, outcome in self._outcomes.items()}
        known |= {number: error for number, error in ended.items() if error is not None}
        if not known:
            return None
        if any(MEETING in error.what for error in known.values()):
            self.speaks = True
            return NOT_MET
        own = {number: error for number, error in known.items() if not _of_others(error)}
        number = min(own or known, key=lambda each: (not _was_killed(known[each]), each))
        error = known[number]
        if not own and (away := self._away(known)):
            self.speaks = self.speaks or away[0] == 0
            return self._watch.gone(away[0])
        if all(each == error for each in known.values()) and len(known) == self._count():
            return error
        process = f"Process {number} of {self._count()}"
        what = error.what.removeprefix("Its process")
        return replace(
            error,
            what=f"{process}: {what}" if what == error.what else f"{process}{what}",
            details="\n".join(part for part in (error.details, self._watch.places()) if part),
        )

    def _away(self, known: dict[int, TargetError]) -> list[int]:
        """Processes that are not heard of any more, where others fail for want of somebody: on other machines
        the first, which carries all messages."""
        if 0 not in self._numbers and all(_was_killed(error) for error in known.values()):
            return [0]
        return [number for number in self._watch.silent_for(AWAY_S) if number not in known]

    def _count(self) -> int:
        beat = self._watch.last(self._number(0))
        return max(len(self._asked), beat.count if beat else 1)

    def _outcome(self, error: TargetError) -> Outcome:
        return outcome_of(self._asked[0].task, error)


class _Spoken:
    """What the first process prints, less what the library says that carries the collectives on a CPU."""

    def __init__(self, echo: Callable[[bytes], None], heard: Callable[[], bool]) -> None:
        self._echo, self._heard, self._begun = echo, heard, b""

    def __call__(self, printed: bytes) -> None:
        *lines, self._begun = (self._begun + printed).splitlines(keepends=True) or [b""]
        if self._begun.endswith(b"\n") or not _GLOO.startswith(self._begun[: len(_GLOO)]):
            lines, self._begun = [*lines, self._begun], b""
        said = b"".join(line for line in lines if not line.startswith(_GLOO))
        if said and self._heard():
            self._echo(said)


def _of_others(error: TargetError) -> bool:
    """Whether it says that another process does not answer."""
    return bool(_OF_OTHERS.search(f"{error.what} {error.why} {error.details}"))


def _was_killed(error: TargetError) -> bool:
    return error.kind is FailureKind.KILLED
