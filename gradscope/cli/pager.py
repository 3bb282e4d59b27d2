"""Long pages at a terminal, one screen at a time."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys

from gradscope.cli import screen


def show(text: str, paged: bool = True) -> None:
    """Write `text`, through the reader's pager where it is longer than the screen: `PAGER`, or less.

    As git does: not off a terminal, not where `PAGER` is empty or `cat`, and less leaves the
    page, with its colours, on the screen.
    """
    command = _command() if paged and _is_long(text) else []
    if not command:
        screen.emit(text)
        return
    try:
        reader = subprocess.Popen(command, stdin=subprocess.PIPE, env={"LESS": "FRX", **os.environ})
    except OSError:
        screen.emit(text)
        return
    try:
        reader.communicate(text.encode(errors="backslashreplace"))
    except KeyboardInterrupt:  # less takes Ctrl-C itself
        reader.wait()


def _command() -> list[str]:
    asked = os.environ.get("PAGER", "less").strip()
    command = shlex.split(asked)
    return command if command and command != ["cat"] and shutil.which(command[0]) else []


def _is_long(text: str) -> bool:
    if not (sys.stdout.isatty() and screen.interactive(sys.stdout)):
        return False
    return text.count("\n") >= shutil.get_terminal_size().lines
