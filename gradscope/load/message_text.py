"""Values and names of the user as text in messages: short, and safe against a `__repr__` that fails."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable, Sequence

_LISTED = 5

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = 60


def short_repr(value: object) -> str:
    return f"`{' '.join(_repr.repr(value).split())}`"


def type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def listed(names: Sequence[str]) -> str:
    """The first few names and how many more there are."""
    text = ", ".join(names[:_LISTED])
    return f"{text} and {len(names) - _LISTED} more" if names[_LISTED:] else text


def did_you_mean(name: str, names: Iterable[str], most: int = 1) -> str:
    """`Did you mean `x`?`, with up to `most` names, or an empty string where none is near."""
    close = difflib.get_close_matches(name, list(names), n=most, cutoff=0.6)
    return f"Did you mean {' or '.join(f'`{found}`' for found in close)}?" if close else ""
