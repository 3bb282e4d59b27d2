"""How rules write numbers and names, the same in every message.

Names come from the user's model and are not escaped here: each reporter escapes them for its format.
"""

from __future__ import annotations

from collections.abc import Sequence


def number(value: float) -> str:
    """Three significant digits, without an exponent from 0.0001 to 99999: `0.0312`, `1.2e-07`, `4100`, `NaN`,
    `-inf`, which read the same in every language; a negative zero is `0`."""
    if value != value:
        return "NaN"
    if 1000 <= abs(value) < 1e5:
        return f"{float(f'{value:.3g}'):.0f}"
    return f"{value + 0.0:.3g}"


def bytes_of(amount: float) -> str:
    """`512 B`, `1.5 MiB`, `12.3 GiB`: three digits."""
    size, unit = float(amount), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1000:
            break
        size, unit = size / 1024, larger
    return f"{size:.3g} {unit}"


def names_of(names: Sequence[str], show: int = 3) -> str:
    """`a`, `b`, `c` and 4 more; a single one more is named."""
    show += len(names) == show + 1
    shown = [f"`{name}`" for name in names[:show]]
    rest = len(names) - len(shown)
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else "".join(shown)


def shape_text(shape: Sequence[int]) -> str:
    """`(64, 10)`."""
    return f"({', '.join(map(str, shape))})"


def count(amount: int, noun: str) -> str:
    """`1 layer`, `3 layers`."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"
