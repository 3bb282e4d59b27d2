"""In the process of one target: judge it, send the answer, end."""

from __future__ import annotations

import faulthandler
import importlib.metadata
import os
import platform
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TextIO

from gradscope import __version__
from gradscope.processes import messages, prepare
from gradscope.processes.beats import MEETING, Heart
from gradscope.processes.messages import Asked
from gradscope.records import TargetError
from gradscope.records.options import Peers, Task
from gradscope.runs.check import check

STDIN, STDOUT, STDERR = 0, 1, 2
TOLD_S = 4.0
"""Until the commands of the other processes know of an error."""
SAME = "Install the same versions everywhere, and give each process the same options."


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
    try:
        task = messages.asked_in(line)
    except Exception as error:
        send(messages.answering(TargetError.of(error)))
        return 0
    if task.peers is None:
        send(messages.answering(judged(task, lambda stage: send(messages.stage(stage)))))
    else:
        _be_one_of(task, task.peers, send)
    return 0


def _be_one_of(asked: Asked, peers: Peers, send: Callable[[bytes], None]) -> None:
    """Judge a target together with other processes."""
    heart = Heart(peers, lambda beats: send(messages.beating(beats)))

    def progress(stage: str) -> None:
        heart.at(stage)
        send(messages.stage(stage))

    heart.start()
    answer = judged(asked, progress)
    if isinstance(answer, TargetError):
        heart.error = answer
        # Process 0 reads it from the others, and all see meanwhile who is not there any more.
        time.sleep(0.0 if peers.one_machine else TOLD_S)
    send(messages.answering(answer))
    from gradscope.peers import joined

    joined.leave()


def judged(asked: Asked, progress: Callable[[str], None]) -> messages.Answer:
    """The report, or why there is none; only what ends the whole process gets past this."""
    try:
        return _checked(asked, progress)
    except Exception as error:
        return TargetError.of(error)


def _checked(asked: Asked, progress: Callable[[str], None]) -> messages.Answer:
    task = asked.task
    if asked.peers is not None:
        from gradscope.peers import joined, reading
        from gradscope.peers.agreeing import require_equal

        progress(MEETING)
        joined.join(asked.peers)
        require_equal("what runs", _traits(task), {"": SAME})
        reading.gather_what_is_read()
    return check(task.path, task.loading, task.checking, baseline=asked.baseline, progress=progress)


def _traits(task: Task) -> dict[str, Any]:
    """What has to be the same in all processes before the target is loaded."""
    from gradscope.peers.agreeing import Trait

    found = {
        "the version of gradscope": Trait(__version__),
        "the version of Python": Trait(platform.python_version()),
        **{f"the version of {name}": Trait(importlib.metadata.version(name)) for name in ("jax", "jaxlib")},
    }
    options = {**asdict(task.loading), **asdict(task.checking)}
    return found | {f"the option {name.replace('_', '-')}": Trait(str(options[name])) for name in options}


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
