"""Values of the user's file that a loss takes in addition to params and batch: a state, a frozen part."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from gradscope.load.model.frameworks.table import is_companion

STATE_NAMES = (
    "state", "model_state", "net_state", "bn_state", "batch_stats", "static", "static_model", "static_params",
    "graphdef", "rest",
)  # fmt: skip
_DATA_NAMES = ("batch", "data", "inputs", "x", "y")
_NUMBERS = (int, float, complex, np.ndarray, np.generic, jax.Array)


def is_extra_argument(name: str, value: Any) -> bool:
    """Whether a parameter of that name certainly takes this value of the file, not a part of the batch.

    Arrays and numbers are taken for a parameter only where the batch leaves it unfilled: a file that cuts
    its batches from `x` and `y` has the whole of them under those names.
    """
    if is_companion(value):
        return True
    if name.lower() in STATE_NAMES:
        return not isinstance(value, _NUMBERS)
    leaves = jax.tree_util.tree_leaves(value)
    return name.lower() not in _DATA_NAMES and not any(isinstance(each, _NUMBERS) for each in leaves)
