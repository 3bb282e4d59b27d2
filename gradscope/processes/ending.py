"""Why a target has no report, where its process could not say so itself."""

from __future__ import annotations

import linecache
import re
import signal

from gradscope.load.usercode.user_code import is_library, show_frames, shown_path
from gradscope.records import FailureKind, Source, TargetError

LAST_LINES = 10
"""Shown of what was printed."""

_STACK = re.compile(
    r"(?:^Fatal Python error: .*\n\n?)?^(?:Current thread|Thread|Stack)\b.*most recent call first\):$", re.M
)
_FRAME = re.compile(r'^  File "(.+)", line (\d+) in (.+)$', re.MULTILINE)
_CRASHES = {"SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGABRT", "SIGTRAP", "SIGSYS"}


def overdue(seconds: float, stage: str, printed: str) -> TargetError:
    return TargetError(
        FailureKind.TIMEOUT,
        f"It took longer than {seconds:g} s.",
        f"It was {stage} when its process was ended.",
        'Put training loops under `if __name__ == "__main__":`.'
        if stage.startswith("loading")
        else "Give it more time with --timeout, or less to do: a smaller batch, fewer --batches.",
        details(printed),
    )


def killed(status: int, stage: str, printed: str) -> TargetError:
    """`status` is that of the process: minus the signal where one ended it."""
    what, why, fix = _by_signal(-status) if status < 0 else _by_itself(status)
    return TargetError(FailureKind.KILLED, f"{what} while {stage}.", why, fix, details(printed))


def details(printed: str) -> str:
    """The user's lines at which the process was, and what was printed last."""
    stack = _STACK.search(printed)
    said = printed[: stack.start()] if stack else printed
    lines = [line for line in said.splitlines() if line.strip()][-LAST_LINES:]
    frames = show_frames(_frames(printed[stack.end() :])) if stack else ""
    last = "\n".join(["printed last:", *(f"  {line}" for line in lines)]) if lines else ""
    return "\n".join(part for part in (frames, last) if part)


def _frames(stack: str) -> list[tuple[Source, str]]:
    """Outermost first; those of libraries say nothing to the user."""
    return [
        (Source(shown_path(file), int(line), linecache.getline(file, int(line)).strip()), function)
        for file, line, function in reversed(_FRAME.findall(stack))
        if not is_library(file)
    ]


def _by_signal(number: int) -> tuple[str, str, str]:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if name == "SIGKILL":
        return (
            f"Its process was killed with {name}",
            "The system does that when memory runs out.",
            "Give it more memory, a smaller --batch-size, or --jobs 1.",
        )
    if name in _CRASHES:
        return (
            f"Its process crashed with {name}",
            "Native code failed: that of a library, or of JAX.",
            "Run the file with `python -X faulthandler`, and look at the library that is called last.",
        )
    return f"Its process was ended with {name}", "gradscope did not do that.", "Run it again."


def _by_itself(status: int) -> tuple[str, str, str]:
    return (
        f"Its process ended with exit status {status}",
        "Something in it called os._exit, or a library ended the process.",
        'Remove the call, or put it under `if __name__ == "__main__":`.',
    )
