"""Whether an exception comes from a mistake in gradscope: then it must not be told as the user's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from gradscope.records import Skipped

T = TypeVar("T")

PACKAGE = Path(os.path.realpath(__file__)).parents[2]
"""The folder `gradscope`."""
OUR_FOLDER = str(PACKAGE) + os.sep
_CALLERS = str(PACKAGE / "load") + os.sep
"""Files that call what the user's file defines: a call that does not fit is raised in its caller's frame."""
_BUGS = (AssertionError, AttributeError, LookupError, NameError, StopIteration)
"""What a mistake of ours raises in a line that also calls what the user gave: a rule, an optimizer."""


def raised_in_our_line(error: BaseException) -> bool:
    """A line of ours raised it itself: neither the user's code nor a library that we called.

    Of the lines that call the user's functions only those exceptions count that a call that does not fit
    cannot raise.
    """
    file = _innermost_file(error)
    return file.startswith(OUR_FOLDER) and (not file.startswith(_CALLERS) or isinstance(error, _BUGS))


def cannot_be_the_users(error: BaseException) -> bool:
    """A line of ours raised it, and it is of a class that no call of the user's rule raises there."""
    return isinstance(error, _BUGS) and _innermost_file(error).startswith(OUR_FOLDER)


def headline(error: BaseException) -> str:
    """The class of an exception and the first line of its message, shortened."""
    first = str(error).partition("\n")[0][:200]
    return f"{type(error).__name__}: {first}"


def _innermost_file(error: BaseException) -> str:
    file, trace = "", error.__traceback__
    while trace is not None:
        file, trace = trace.tb_frame.f_code.co_filename, trace.tb_next
    return os.path.realpath(file) if file else ""


class Looks:
    """Analyses that a report is whole without: where one fails it is ours, and the report says so."""

    def __init__(self) -> None:
        self.failed: list[Skipped] = []

    def taken(self, what: str, look: Callable[[], T], otherwise: T) -> T:
        try:
            return look()
        except Exception as error:
            self.failed.append(Skipped(what, f"gradscope itself failed there ({headline(error)})"))
            return otherwise

    def listed(self, what: str, look: Callable[[], Iterable[T]]) -> list[T]:
        """All that it finds; nothing where it fails."""
        nothing: list[T] = []
        return self.taken(what, lambda: list(look()), nothing)
