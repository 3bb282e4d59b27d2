"""What the streams of this process are: their width, their colours, and whether anyone still reads them."""

from __future__ import annotations

import os
import shutil
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

from gradscope.language import translate

if TYPE_CHECKING:
    from gradscope.report import View

OFF_TERMINAL = 120
NARROWEST = 30


class Color(StrEnum):
    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def width(to_file: bool) -> int:
    """Of the terminal; `COLUMNS` or 120 where the output goes elsewhere."""
    if not to_file:
        return max(NARROWEST, shutil.get_terminal_size((OFF_TERMINAL, 40)).columns)
    columns = os.environ.get("COLUMNS", "")
    return max(NARROWEST, int(columns)) if columns.isascii() and columns.isdigit() else OFF_TERMINAL


def colored(stream: TextIO | None, mode: Color) -> bool:
    """`stream` is `None` for a file. NO_COLOR wins over FORCE_COLOR, as no-color.org asks."""
    if mode is not Color.AUTO:
        return mode is Color.ALWAYS
    compatible = os.environ.get("TTY_COMPATIBLE")
    if stream is None or os.environ.get("NO_COLOR") or compatible == "0":
        return False
    if os.environ.get("FORCE_COLOR") or compatible == "1":
        return True
    return os.environ.get("TERM") != "dumb" and stream.isatty()


def view(stream: TextIO, mode: Color = Color.AUTO) -> View:
    """What fits on a stream of this process."""
    from gradscope.report import View

    return View(width(to_file=False), colored(stream, mode)).on(stream)


def interactive(stream: TextIO) -> bool:
    """Whether a line that was written can be wiped again. What forces colours does not force that.

    Logs of CI systems show colours, and would keep every frame of an animation.
    """
    asked = os.environ.get("TTY_INTERACTIVE")
    if asked in ("0", "1"):
        return asked == "1"
    if os.environ.get("TTY_COMPATIBLE") == "0" or os.environ.get("TERM") == "dumb":
        return False
    return stream.isatty()


def open_what_is_closed() -> None:
    """A job that closes a stream (`2>&-`) wants it unread: a crash would exit with code 1, as findings do."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def show_what_cannot_be_encoded() -> None:
    """A name that the terminal has no character for must not end the run."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def emit(text: str) -> None:
    """Write to stdout; where the reader has left (`| head`) nothing more is said, and the run goes on."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at exit, complain, and exit with code 120.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def pass_on(printed: bytes) -> None:
    """What the user's code has printed in another process."""
    sys.stderr.write(printed.decode(errors="replace"))
    sys.stderr.flush()


def tell(text: str) -> None:
    """Write a message to stderr, apart from the result on stdout."""
    sys.stderr.write(f"{translate(text)}\n")
