"""The one exception of gradscope: what happened, why, and what to do about it."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit code of the process: a CI job reads nothing else."""

    CLEAN = 0
    FINDINGS = 1
    NOT_JUDGED = 2
    INTERNAL = 3
    INTERRUPTED = 130


class GradscopeError(Exception):
    """The input could not be judged. Caught once, in `cli/app.py`, and shown without a traceback.

    `what` names the thing with the user's own value in it, `why` says how we know, `fix` says what to
    write instead. `details` are lines shown as they are: the user's own frames, the names found.
    `slug` is a heading of `docs/errors.md`.
    """

    exit_code: ExitCode = ExitCode.NOT_JUDGED

    def __init__(self, what: str, *, why: str = "", fix: str = "", details: str = "", slug: str = "") -> None:
        self.what = what
        self.why = why
        self.fix = fix
        self.details = details
        self.slug = slug
        sentences = " ".join(part for part in (what, why, fix) if part)
        super().__init__("\n".join(part for part in (sentences, details) if part))
