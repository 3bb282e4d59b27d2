"""Whether the terms of a comparison can be met at all."""

from __future__ import annotations

import math

from gradscope.errors import GradscopeError
from gradscope.records.options import SCHEDULES, VMAP, CompareOptions


def require_usable(request: CompareOptions) -> None:
    """Raises `GradscopeError` where they cannot."""
    for option, value in (
        ("--steps", request.steps),
        ("--seeds", request.seeds),
        ("--lr-grid", request.grid),
        ("--budget", request.budget_s),
        ("--clip", request.clip),
        ("--starts", request.starts or None),
    ):
        if value is not None and not value > 0:
            raise GradscopeError(
                f"{option} is {value}.",
                why="There would be nothing to measure.",
                fix="Give a number above 0.",
                slug="bad-option",
            )
    if request.target is not None and not math.isfinite(request.target):
        raise GradscopeError(
            f"--target is {request.target}.",
            why="It is the loss that each optimizer has to reach.",
            fix="Give a finite number.",
            slug="bad-option",
        )
    for option, choice, choices in (
        ("--schedule", request.schedule, SCHEDULES),
        ("--vmap", request.vmap, VMAP),
    ):
        if choice not in choices:
            raise GradscopeError(
                f'"{option} {choice}" is not a valid value.',
                fix=f"Use one of: {', '.join(choices)}.",
                slug="bad-option",
            )
