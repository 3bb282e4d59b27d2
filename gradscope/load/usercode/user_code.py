"""Runs code of the user, and shows what it raised with the frames of the user's own files only."""

from __future__ import annotations

import linecache
import os
import re
import site
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

from gradscope.errors import GradscopeError
from gradscope.load.usercode.fault import OUR_FOLDER, PACKAGE, raised_in_our_line
from gradscope.load.usercode.hints import hint
from gradscope.records import Source

_SHOWN_FIRST, _SHOWN_LAST = 4, 8
_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
_JAX_NOISE = ("JAX has removed its internal frames", "JaxStackTraceBeforeTransformation")


@contextmanager
def user_code(doing: str) -> Iterator[None]:
    """Turns what the user's code raises into a `GradscopeError` that says it happened while `doing`.

    `sys.exit` counts as an exception, Ctrl-C does not. A `GradscopeError` passes through unchanged, and so
    does what a line of gradscope itself raised, because that is a mistake of ours. What the user's code
    prints goes to stderr, because stdout holds our results.
    """
    try:
        with redirect_stdout(sys.stderr):
            yield
    except GradscopeError:
        raise
    except (Exception, SystemExit) as error:
        if raised_in_our_line(error):
            raise
        raise as_gradscope_error(error, doing) from error


def as_gradscope_error(error: BaseException, doing: str) -> GradscopeError:
    kind = type(error).__name__
    message, quoted = _without_traceback(_message(error))
    first, _, rest = message.partition("\n")
    if isinstance(error, SystemExit):
        what = f"While {doing}, your code called sys.exit({'' if error.code is None else repr(error.code)})."
    else:
        what = f"While {doing}, your code raised {kind}{': ' + first if first else ''}"
    frames = user_frames(error) or quoted
    why = "" if frames else "No line of your own files is in the traceback: a library raised it."
    parts = [rest.rstrip(), *_notes(error), show_frames(frames), *_causes(error)]
    details = "\n".join(part for part in parts if part)
    return GradscopeError(what, why=why, fix=hint(error), details=details, slug="error-in-your-code")


def user_frames(error: BaseException) -> list[tuple[Source, str]]:
    """The line and the function of every frame in a file of the user, outermost first.

    For an error that has no such frame (raised while JAX transforms or runs the program) the frames are
    those of the user's operation that JAX names as the origin.
    """
    frames = _own_frames(error)
    if not frames and _is_jax_origin(error.__cause__):
        frames = _own_frames(error.__cause__)
    return frames


def show_frames(frames: list[tuple[Source, str]]) -> str:
    lines = [_show_frame(source, function) for source, function in frames]
    hidden = len(lines) - _SHOWN_FIRST - _SHOWN_LAST
    if hidden > 1:
        lines[_SHOWN_FIRST:-_SHOWN_LAST] = [f"... {hidden} more frames"]
    return "\n".join(lines)


def shown_path(file: str) -> str:
    """`file` relative to the working directory where it lies below it."""
    try:
        relative = os.path.relpath(file)
    except ValueError:
        return file
    return file if relative.startswith("..") else relative


def is_library(file: str) -> bool:
    """Whether a code object's file belongs to Python, an installed package or gradscope itself."""
    if file.startswith("<frozen ") or file == "<string>":
        return True
    path = os.path.realpath(file)
    return any(part in _PACKAGE_FOLDERS for part in Path(path).parts) or path.startswith(_LIBRARY_ROOTS)


def _library_roots() -> tuple[str, ...]:
    standard = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    installed = [*site.getsitepackages(), site.getusersitepackages()]
    roots = [*standard, *installed, str(PACKAGE)]
    return tuple(os.path.realpath(root) + os.sep for root in roots if root)


_LIBRARY_ROOTS = _library_roots()


_JAX_NAMES_US = re.compile(
    rf"The error occurred while tracing the function \S+ at {re.escape(OUR_FOLDER)}\S*:\d+ for \w+\. ?"
)

_QUOTED_FRAME = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.MULTILINE)


def _message(error: BaseException) -> str:
    """The message less what JAX says of our function around the user's, which is what it traced."""
    try:
        return _JAX_NAMES_US.sub("", str(error)).strip()
    except Exception:
        return "(its message cannot be shown)"


def _without_traceback(message: str) -> tuple[str, list[tuple[Source, str]]]:
    """What a callback raises reaches us as the text of a whole traceback: its end, and the user's frames."""
    head, quotes, text = message.partition("Traceback (most recent call last):\n")
    if not quotes:
        return message, []
    called = text.rpartition(f'  File "{OUR_FOLDER}')[2]
    frames = [
        (Source(shown_path(file), int(line), linecache.getline(file, int(line)).strip()), function)
        for file, line, function in _QUOTED_FRAME.findall(called)
        if not is_library(file)
    ]
    raised = [line for line in text.splitlines() if line and not line.startswith(" ")]
    return head + "\n".join(raised), frames


def _own_frames(error: BaseException | None) -> list[tuple[Source, str]]:
    if error is None:
        return []
    frames = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        if not is_library(code.co_filename):
            text = linecache.getline(code.co_filename, line, frame.f_globals).strip()
            frames.append((Source(shown_path(code.co_filename), line, text), code.co_qualname))
    return frames


def _show_frame(source: Source, function: str) -> str:
    where = f"  {source} in {function}"
    return f"{where}\n    {source.text}" if source.text else where


def _notes(error: BaseException) -> list[str]:
    notes: list[str] = getattr(error, "__notes__", [])
    return [note for note in notes if not any(noise in note for noise in _JAX_NOISE)]


def _causes(error: BaseException) -> list[str]:
    """One line for each exception the user's code raised this one `from`."""
    lines: list[str] = []
    cause, seen = error.__cause__, {id(error)}
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if not _is_jax_origin(cause):
            lines.append(f"caused by {type(cause).__name__}: {_message(cause)}".rstrip(": "))
            lines.append(show_frames(_own_frames(cause)))
        cause = cause.__cause__
    return lines


def _is_jax_origin(error: BaseException | None) -> bool:
    return type(error).__name__ in ("JaxStackTraceBeforeTransformation", "UnfilteredStackTrace")
