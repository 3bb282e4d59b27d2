"""Libraries that only some files need, each installed by an extra: imported when such a file is given."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from gradscope.errors import GradscopeError


def required(module: str, extra: str, purpose: str) -> Any:
    """The module, or an error that says how to install it; `purpose` completes "is needed to ..."."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise GradscopeError(
            f"{package} is needed to {purpose}.",
            why=f"It cannot be imported by {sys.executable}: {error}.",
            fix=f"Install it: `pip install 'gradscope-jax[{extra}]'`.",
            slug="missing-package",
        ) from None
