"""Names of leaves, in ours and in others' spelling, as steps that can be compared.

`layers[0].w`, `layers/0/w`, `['layers'][0]['w']`, `layers.0.w.value` and Haiku's key `'mlp/~/linear_0'` all
become tuples of words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

Steps = tuple[str, ...]

_WORD = re.compile(r"[^./\[\]'\"\s]+")
_BOXES = ("value", "raw_value")
"""Last steps of a value in a box: NNX variables."""


def steps_of_text(name: str) -> Steps:
    return _unboxed(tuple(_WORD.findall(name)))


def steps_of_path(path: Sequence[Any]) -> Steps:
    """Of a path of `jax.tree_util`, or of plain keys and positions."""
    words: list[str] = []
    for step in path:
        key = next((getattr(step, a) for a in ("key", "name", "idx") if hasattr(step, a)), step)
        words += _WORD.findall(str(key))
    return _unboxed(tuple(words))


def text_of(steps: Steps) -> str:
    """As a user writes it; `params` for the one array that has no name."""
    text = "".join(f"[{step}]" if step.isdecimal() else f".{step}" for step in steps)
    return text.removeprefix(".") or "params"


def _unboxed(steps: Steps) -> Steps:
    return steps[:-1] if len(steps) > 1 and steps[-1] in _BOXES else steps
