"""Libraries that gradscope does without until a user asks for what needs them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Any

from gradscope.errors import GradscopeError


def imported(names: Sequence[str], purpose: str, extra: str) -> Any:
    """The first of these modules that can be imported. Raises `GradscopeError` where none can."""
    reasons = []
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    raise GradscopeError(
        f"{' or '.join(name.partition('.')[0] for name in names)} is needed to {purpose}.",
        why=f"{sys.executable} cannot import it: {'; '.join(reasons)}.",
        fix=f"Install it: `pip install 'gradscope-jax[{extra}]'`.",
        slug="missing-package",
    )
