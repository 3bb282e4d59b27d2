"""Truncated backpropagation through time against the whole: how much of the gradient is lost."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gradscope.records import TruncatedGradient, Truncation
from gradscope.trace.program import Program


def truncation(program: Program, whole: Sequence[Any], cut: Sequence[Any], steps: int) -> Truncation:
    """`whole` and `cut` are the gradients of all leaves; the latter with `steps` between two cuts."""
    found = {leaf: _compared(*both) for leaf, both in enumerate(zip(whole, cut, strict=True))}
    found = {leaf: each for leaf, each in found.items() if each[0] != 0}
    parameters = tuple(
        TruncatedGradient(program.leaves[leaf].name, gone / size, cosine if left else None)
        for leaf, (size, left, gone, cosine) in found.items()
    )
    sizes, lefts, gones = (math.hypot(*(each[i] for each in found.values())) for i in range(3))
    together = sum(size / sizes * (left / lefts) * cosine for size, left, _, cosine in found.values() if left)
    return Truncation(
        steps=steps,
        lost=gones / sizes if sizes else 0.0,
        cosine=together if lefts else None,
        parameters=parameters,
    )


def _compared(whole: Any, cut: Any) -> tuple[float, float, float, float]:
    """The norm of each, that of the difference, and the cosine between them, which is 0 where one is 0."""
    a, b = (np.asarray(each).astype(np.float64).ravel() for each in (whole, cut))
    top = max(float(np.abs(each).max(initial=0.0)) for each in (a, b))
    scale = top if math.isfinite(top) and top > 0 else 1.0
    a, b = a / scale, b / scale
    size, left = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    cosine = max(-1.0, min(1.0, float(a @ b) / (size * left))) if size and left else 0.0
    return size * scale, left * scale, float(np.linalg.norm(b - a)) * scale, cosine
