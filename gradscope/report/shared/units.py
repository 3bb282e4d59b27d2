"""How numbers read in every format for people: the same digits in the table, a finding and a web page."""

from __future__ import annotations

import math

from gradscope.rules import words

NOT_MEASURED = "-"
size = words.bytes_of
"""Bytes, as the messages of rules write them."""


def number(value: float | None) -> str:
    """`gradscope.rules.words.number`; `-` where nothing was measured."""
    return NOT_MEASURED if value is None else words.number(value)


def cell(value: float | None) -> str:
    """`number` with its trailing zeros, so that a column lines up: `0.500`, `3.00e-09`, but `0`."""
    text = number(value)
    if value is None or value == 0 or not math.isfinite(value) or 1000 <= abs(value) < 1e5:
        return text
    return f"{value:#.3g}".removesuffix(".")


def count(amount: int) -> str:
    """Exact up to ten million, three digits beyond: `4,160`, `86.4M`, `7.24B`."""
    if abs(amount) < 10_000_000:
        return f"{amount:,}"
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        # 999.6 million would round to `1e+03M`: it belongs to the next unit.
        if abs(amount) >= size * 0.9995:
            return f"{amount / size:.3g}{unit}"
    raise AssertionError(amount)


def share(part: float | None) -> str:
    """A share in [0, 1] as a percentage; 0% and 100% only where it is exactly that."""
    if part is None:
        return NOT_MEASURED
    if not math.isfinite(part):
        return number(part)
    if 0 < part < 0.01:
        return "<1%"
    if 0.99 < part < 1:
        return ">99%"
    return f"{part:.0%}"


def seconds(duration: float) -> str:
    if duration < 0.05:
        return f"{duration * 1000:.0f} ms"
    if duration < 60:
        return f"{duration:.1f} s"
    return f"{int(duration // 60)} min {int(duration % 60)} s"


def operations(amount: float) -> str:
    """`512 FLOP`, `1.50 kFLOP`, `12.3 GFLOP`: three digits."""
    value, prefix = float(amount), ""
    for larger in ("k", "M", "G", "T", "P", "E"):
        if abs(value) < 999.5:
            break
        value, prefix = value / 1000, larger
    return f"{number(value) if not prefix else cell(value)} {prefix}FLOP"


def brief(duration: float | None) -> str:
    """Milliseconds with three digits, seconds from one on: `0.0312 ms`, `285 ms`, `1.25 s`."""
    if duration is None:
        return ""
    return f"{cell(duration * 1000)} ms" if duration < 1 else f"{cell(duration)} s"


def counted(amount: int, noun: str) -> str:
    """`1 layer`, `2,000 layers`."""
    return f"{count(amount)} {noun}" if amount == 1 else f"{count(amount)} {noun}s"
