"""Run the targets, a few at a time, and put what became of them in order."""

from __future__ import annotations

import contextlib
import os
import selectors
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from gradscope.gate.baseline_file import Baseline
from gradscope.processes import compilation_cache, messages, prepare
from gradscope.processes.child import judged
from gradscope.processes.messages import Asked
from gradscope.processes.starting import ForkServer, ServerLost, Starter, best
from gradscope.processes.watching import Child, not_started
from gradscope.records import Outcome, Suite, TargetError
from gradscope.records.options import Task
from gradscope.serialization import report_json
from gradscope.serialization.suite_json import outcome_of

MEMORY_OF_ONE = 2 * 2**30
"""Bytes that a target may well take."""
TICK_S = 0.5
"""Between looks at children that nothing is heard of."""


def run(
    tasks: Sequence[Task],
    *,
    jobs: int | None = None,
    baselines: Mapping[str, Baseline] | None = None,
    progress: Callable[[str], None],
    echo: Callable[[bytes], None] | None = None,
) -> Suite:
    """Judge each target in a process of its own, `jobs` at a time; outcomes come in the order of the tasks.

    `baselines` are those that the tasks name, where they were read already.
    What a target prints goes to `echo`, and without one is kept and shown only where the target could not be
    judged: 500 of them stay readable. `LoadOptions.timeout` is for a target as a whole. No target is left
    running, whatever ends the run; a process that a target put in a session of its own is its own affair.
    """
    if not tasks:
        return Suite(())
    asked = [asked_of(task, baselines or {}) for task in tasks]
    if os.name != "posix":
        return Suite(tuple(outcome_of(each.task, _judged_here(each, progress)) for each in asked))
    with contextlib.closing(Children(asked, jobs or default_jobs(), progress, best(), echo)) as work:
        return Suite(work.outcomes())


def default_jobs() -> int:
    """Half of the cores, because XLA compiles and runs with several threads; fewer where memory is short."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(1, min(cores // 2, memory // MEMORY_OF_ONE))


def asked_of(task: Task, baselines: Mapping[str, Baseline]) -> Asked:
    """With the baseline that it names, where that was read already."""
    baseline = baselines.get(task.checking.baseline or "")
    return Asked(task, None if baseline is None else baseline.only(task.path))


class Children:
    """Children for what is asked, and their outcomes; `close` leaves none behind."""

    def __init__(
        self,
        asked: Sequence[Asked],
        jobs: int,
        progress: Callable[[str], None],
        start: Callable[[], Starter],
        echo: Callable[[bytes], None] | None = None,
    ) -> None:
        self._echo = echo
        self._asked, self._jobs, self._progress, self._start = asked, jobs, progress, start
        self._waiting = deque(range(len(asked)))
        self._children: dict[int, tuple[int, Child]] = {}
        """By process, with the place of the task."""
        self._outcomes: dict[int, Outcome] = {}
        self._selector = selectors.DefaultSelector()
        self._starter: Starter | None = None

    def outcomes(self) -> tuple[Outcome, ...]:
        while self._waiting or self._children:
            try:
                self._fill()
                self._listen()
                self._collect()
            except ServerLost as lost:
                self._go_on_without(str(lost))
        return tuple(self._outcomes[place] for place in range(len(self._asked)))

    def close(self) -> None:
        for _, child in self._children.values():
            child.end()
        if self._children:
            compilation_cache.forget_unfinished()
        if self._starter is not None:
            self._starter.close()
        self._selector.close()

    def _fill(self) -> None:
        while self._waiting and len(self._children) < self._jobs:
            if self._starter is None:
                self._progress("starting")
                self._starter = self._start()
                if isinstance(self._starter, ForkServer):
                    self._selector.register(self._starter, selectors.EVENT_READ)
            place = self._waiting[0]
            child = started(self._starter, self._asked[place], self._echo_of(place))
            self._children[child.process] = self._waiting.popleft(), child
            for pipe in child.pipes:
                self._selector.register(pipe, selectors.EVENT_READ, child)

    def _listen(self) -> None:
        ready = self._selector.select(self._wait_s())
        for child in {id(key.data): key.data for key, _ in ready if key.data is not None}.values():
            self._heard(child)
        for _, child in self._children.values():
            child.keep_to_time()

    def _wait_s(self) -> float:
        """For something to become readable."""
        waits = [child.wait_s() for _, child in self._children.values()]
        if not isinstance(self._starter, ForkServer):
            # Nothing becomes readable when a child ends: its pipes may be at their end before it is gone.
            waits.append(TICK_S)
        return min((wait for wait in waits if wait is not None), default=TICK_S)

    def _heard(self, child: Child) -> None:
        before = child.stage
        for pipe in child.read():
            self._selector.unregister(pipe)
            os.close(pipe)
        if child.stage != before:
            self._tell(child)

    def _tell(self, child: Child) -> None:
        count = len(self._asked)
        done = f"{len(self._outcomes)} of {count} target{'' if count == 1 else 's'}"
        self._progress(f"{done}, {child.task.target}: {child.stage}")

    def _echo_of(self, place: int) -> Callable[[bytes], None] | None:
        """Where what a child prints goes."""
        del place
        return self._echo

    def _collect(self) -> None:
        if self._starter is None:
            return
        for process, status in self._starter.ended().items():
            place, child = self._children.pop(process)
            self._finish(child)
            if child.answer is None:
                compilation_cache.forget_unfinished()
            self._outcomes[place] = outcome_of(child.task, child.came_to(status))

    def _finish(self, child: Child) -> None:
        for pipe in child.pipes:
            self._selector.unregister(pipe)
        child.end()

    def _go_on_without(self, said: str) -> None:
        """The server is gone: nobody will say what became of its children, and the rest get a new one."""
        lost = [place for place, _ in self._children.values()] or [self._waiting.popleft()]
        for place in lost:
            self._outcomes[place] = outcome_of(self._asked[place].task, not_started(said))
        for _, child in self._children.values():
            self._finish(child)
        self._children = {}
        if self._starter is not None:
            if isinstance(self._starter, ForkServer):
                self._selector.unregister(self._starter)
            self._starter.close()
            self._starter = None


def _judged_here(asked: Asked, progress: Callable[[str], None]) -> messages.Answer:
    """In this process, with what a process of its own would be given, and with its digits."""
    prepare.prepare_process()
    answer = judged(messages.asked_in(messages.asking(asked)), progress)
    return answer if isinstance(answer, TargetError) else report_json.rounded(answer)


def started(starter: Starter, asked: Asked, echo: Callable[[bytes], None] | None = None) -> Child:
    """The child that is to judge this; the ends of its pipes stay open only there."""
    (answers, answer), (output, printed) = os.pipe(), os.pipe()
    try:
        with tempfile.TemporaryFile() as file:
            file.write(messages.asking(asked))
            file.seek(0)
            process = starter.start([file.fileno(), answer, printed])
    except BaseException:
        os.close(answers)
        os.close(output)
        raise
    finally:
        os.close(answer)
        os.close(printed)
    return Child(asked.task, process, answers, output, echo)
