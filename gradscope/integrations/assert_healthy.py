"""`gradscope.assert_healthy`: the gate as one line of a test."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from gradscope.errors import GradscopeError
from gradscope.gate import policy
from gradscope.records import Outcome, Policy, Report
from gradscope.report.terminal.failing import failing_text
from gradscope.runs.check import check_loss

if TYPE_CHECKING:
    from gradscope.load.problem import Problem

USUAL = 100
"""Columns, where no terminal says how many there are."""
MARGIN = len("E         ")
"""What pytest puts before each line of an exception."""


def assert_healthy(
    loss_fn: Callable[..., Any] | Problem,
    params: Any = None,
    batch: Any = None,
    *,
    fail_on: str | Sequence[str] = "error",
    **options: Any,
) -> Report:
    """Check, and raise an `AssertionError` that tells what `fail_on` names and was found.

    `fail_on` takes severities and rules, as `--fail-on` does; all else is as in `gradscope.check`, and so
    is the `GradscopeError` of a loss that cannot be judged.
    """
    __tracebackhide__ = True
    policy = named_policy(fail_on)
    try:
        report = check_loss(loss_fn, params, batch, **options)
    except GradscopeError as error:
        # Its text has the user's own frames: those of gradscope and JAX would bury them.
        raise error.with_traceback(None) from None
    outcome = Outcome(report.target, report, policy=policy)
    if outcome.failures:
        raise AssertionError(as_text(outcome))
    return report


def named_policy(fail_on: str | Sequence[str]) -> Policy:
    """The policy of `"error,non-finite"` or `["error", "non-finite"]`; an unknown name raises."""
    text = fail_on if isinstance(fail_on, str) else ",".join(fail_on)
    return policy.parse(text)


def as_text(outcome: Outcome, margin: int = MARGIN) -> str:
    """As wide as the terminal lets it be behind a margin."""
    width = shutil.get_terminal_size((USUAL, 40)).columns - margin
    return failing_text(outcome, width, getattr(sys.__stdout__, "encoding", None))
