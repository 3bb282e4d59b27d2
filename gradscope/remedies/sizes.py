"""Edits of numbers that a network is built with: widths, dropout, the axis that a normalization goes over."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from gradscope.remedies.source_code import Remedy, SourceCode, Spot, number

NARROW, WIDE = 16, 64
"""Units of a hidden layer: fewer than the one become the other."""
NAMES = ("size", "width", "layer", "hidden", "unit", "feature", "dim", "channel", "neuron")
MUCH, USUAL = 0.5, 0.1
"""Share of units that dropout takes away."""
CAPACITY = (
    "dead-units",
    "constant-output",
    "loss-not-decreasing",
    "learning-rate-too-low",
    "plateau",
    "symmetric-units",
)
NOISE = ("noisy-gradient", "loss-not-decreasing", "learning-rate-too-low", "learning-rate-too-high")
AXIS = ("batch-leak", "future-leak", "padding-leak", "wrong-attention-axis", "loss-not-decreasing")


def edits(code: SourceCode) -> Iterator[Remedy]:
    narrow: list[Spot] = [(each, str(WIDE)) for each in _hidden(code) if (number(each) or NARROW) < NARROW]
    if narrow:
        yield Remedy(f"give each hidden layer {WIDE} units", CAPACITY, code.path, code.replaced(*narrow))
    dropped: list[Spot] = [(each, f"{USUAL:g}") for each in _rates(code) if (number(each) or 0.0) > MUCH]
    if dropped:
        what = f"let dropout take away {USUAL:g} of the units"
        yield Remedy(what, NOISE, code.path, code.replaced(*dropped))
    axes: list[Spot] = [(each, "-1") for each in _axes(code)]
    if axes:
        yield Remedy("normalize over the last axis", AXIS, code.path, code.replaced(*axes))
    for call in code.calls("softmax"):
        for axis in (each.value for each in call.keywords if each.arg == "axis"):
            if number(axis) not in (None, -1):
                what = f"let the softmax of line {call.lineno} go over the last axis"
                yield Remedy(what, AXIS, code.path, code.replaced((axis, "-1")))


def _hidden(code: SourceCode) -> Iterator[ast.expr]:
    """Of `SIZES = [16, 32, 32, 3]`: what lies between the input and the output."""
    for node in code.tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.List | ast.Tuple)
            and any(part in code.part(node.targets[0]).lower() for part in NAMES)
        ):
            sizes = node.value.elts
            if len(sizes) > 2 and all(
                isinstance(each, ast.Constant) and type(each.value) is int for each in sizes
            ):
                yield from sizes[1:-1]


def _rates(code: SourceCode) -> Iterator[ast.expr]:
    for call in code.calls("Dropout"):
        named = [each.value for each in call.keywords if each.arg in ("rate", "p")]
        yield from named or call.args[:1]


def _axes(code: SourceCode) -> Iterator[ast.expr]:
    """Of means and deviations that keep their axes: a normalization written by hand."""
    for call in code.calls("mean", "std", "var"):
        given = {each.arg: each.value for each in call.keywords}
        if "keepdims" in given and number(given.get("axis")) not in (None, -1):
            yield given["axis"]
