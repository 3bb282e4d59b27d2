"""Several targets in one run: what became of each, and what the whole of it comes to."""

from __future__ import annotations

import traceback
from dataclasses import field, replace
from enum import StrEnum

from gradscope.errors import ExitCode, GradscopeError
from gradscope.records.finding import Finding
from gradscope.records.policy import Policy
from gradscope.records.record import record
from gradscope.records.report import Report


class FailureKind(StrEnum):
    """Why a target could not be judged."""

    INPUT = "input"
    """A file, its data or an option is wrong."""
    BUG = "bug"
    """gradscope failed."""
    TIMEOUT = "timeout"
    """It did not end in the time that was given."""
    KILLED = "killed"
    """The system ended its process: out of memory, a crash in native code."""


@record
class TargetError:
    """Why a target has no report: what happened, why we think so, what to do, as in `GradscopeError`."""

    kind: FailureKind
    what: str
    why: str = ""
    fix: str = ""
    details: str = ""
    slug: str = ""
    """The section of the page on errors: `gradscope explain SLUG`."""

    @classmethod
    def of(cls, error: Exception) -> TargetError:
        """What is no `GradscopeError` is a bug of ours."""
        if isinstance(error, NotJudgedError):
            return error.error
        if not isinstance(error, GradscopeError):
            return cls.bug("".join(traceback.format_exception(error)))
        kind = FailureKind.TIMEOUT if error.slug == "timeout" else FailureKind.INPUT
        return cls(kind, error.what, error.why, error.fix, error.details, error.slug)

    def as_exception(self) -> NotJudgedError:
        """What `of` was made from, as far as it is kept."""
        return NotJudgedError(self)

    @classmethod
    def bug(cls, details: str) -> TargetError:
        return cls(
            FailureKind.BUG,
            "gradscope failed, and the model is not to blame.",
            fix="Please report it with the lines above.",
            details=details,
        )


class NotJudgedError(GradscopeError):
    """Raised in the place of what another process raised; `TargetError.of` takes it apart again."""

    def __init__(self, error: TargetError) -> None:
        super().__init__(error.what, why=error.why, fix=error.fix, details=error.details, slug=error.slug)
        self.error = error
        if error.kind is FailureKind.BUG:
            self.exit_code = ExitCode.INTERNAL


@record
class Outcome:
    """One target: its report, or why there is none; never both."""

    target: str
    report: Report | None = None
    error: TargetError | None = None
    policy: Policy = field(default_factory=Policy)
    path: str = ""
    """What was loaded, seen from the working directory, where that is another name."""

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings that make the gate fail."""
        return tuple(f for f in self.report.findings if self.policy.fails(f)) if self.report else ()


@record
class Suite:
    """All targets of a run, in the order in which they were asked for."""

    outcomes: tuple[Outcome, ...]
    alone: bool = False
    """One target, asked for by itself: it is shown without a table of targets around it."""

    @classmethod
    def of(cls, report: Report, policy: Policy | None = None) -> Suite:
        """The run of one target."""
        return cls((Outcome(report.target, report, policy=policy or Policy()),), alone=True)

    def judged_by(self, policy: Policy) -> Suite:
        """The same run, as another policy judges every target of it."""
        return replace(self, outcomes=tuple(replace(outcome, policy=policy) for outcome in self.outcomes))

    @property
    def verdict(self) -> str:
        """`sick` where one report is, else `not judged` where one is missing, else `healthy`."""
        if any(report.verdict == "sick" for report in self.reports):
            return "sick"
        return "healthy" if len(self.reports) == len(self.outcomes) else "not judged"

    @property
    def reports(self) -> tuple[Report, ...]:
        return tuple(outcome.report for outcome in self.outcomes if outcome.report is not None)

    @property
    def only(self) -> Report | None:
        """The report of a run of one target."""
        return self.outcomes[0].report if self.alone else None
