"""Describes the origin of a NaN or infinity: the operation, its operands and result, the consequences.

An infinity that is gone before the loss is described in `lost_infinities.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gradscope.records import Calculation, Cause, Hazard, Measurement, Number, Origin
from gradscope.rules.base import Hit
from gradscope.rules.numerics.hazard_texts import words_of
from gradscope.rules.numerics.library_calls import explained
from gradscope.rules.words import count, number

SIGNS: Mapping[str, str] = {"add": "+", "add_any": "+", "sub": "-", "mul": "*", "div": "/", "pow": "**"}
SHOWN = 3
"""Most operands that are shown; a callback may have twenty."""


def origin_finding(measurement: Measurement, origin: Origin, tail: str) -> Hit:
    """The finding on an origin; `tail` is a sentence on its consequences."""
    why, remedy = explained(origin)
    place, source = in_loops(origin.steps), origin.source
    hazard = _inside(measurement, origin)
    if hazard is not None:
        words, source = words_of(hazard), hazard.source
        why += f" {_on_its_point(hazard)} {words.fails}"
        remedy = words.remedy
    return Hit(
        f"{what_happened(origin)}.{place} {why}{tail}",
        remedy,
        _evidence(measurement, origin),
        _layer(measurement, origin),
        None,
        source,
        explains=None,
    )


def _inside(measurement: Measurement, origin: Origin) -> Hazard | None:
    """The first expression that lies on its singular point, where the origin was not looked into."""
    if origin.cause is not Cause.UNSEEN:
        return None
    return next((each for each in measurement.hazards if each.on_it and each.source is not None), None)


def _on_its_point(hazard: Hazard) -> str:
    return (
        f"In this run {count(hazard.on_it, 'element')} of `{hazard.op}` at {hazard.source} "
        f"{'lies' if hazard.on_it == 1 else 'lie'} on its singular point, which can be the cause."
    )


def _layer(measurement: Measurement, origin: Origin) -> str | None:
    """That of the operands; where the loss and its own gradient are finite, one that the origin harmed."""
    harmed = {leaf.layer for leaf in measurement.parameters if leaf.name in origin.poisoned}
    if origin.layer is None or origin.layer in harmed or not math.isfinite(measurement.loss):
        return origin.layer
    return next((layer.name for layer in measurement.layers if layer.name in harmed), origin.layer)


def what_happened(origin: Origin) -> str:
    """The operation and its numbers at the element of the origin, and what an infinity became."""
    step = Calculation(origin.op, origin.operands, origin.result)
    extent = _extent(origin)
    if origin.cause is Cause.CONSTANT:
        found = f"A constant of the program holds {number(origin.result)}{extent}"
    elif origin.cause is Cause.OUTSIDE_INDEX:
        found = f"`{origin.op}` reads outside of its array{extent}"
    elif origin.derivative_of is None:
        found = f"{_calculated(step)}{extent}"
    elif origin.cause is Cause.UNSEEN:
        found = f"`{origin.derivative_of}`{extent}: its derivative is {number(origin.result)}"
    elif origin.cause is Cause.CUSTOM_RULE:
        found = f"The derivative rule of `{origin.derivative_of}`{extent}: {plainly(step)}"
    else:
        at, derivative = _point(origin.forward_operands), plainly(step)
        found = f"`{origin.derivative_of}`{extent}: its derivative is {derivative}"
        if at:
            found = f"`{origin.derivative_of}` at {at}{extent}: its derivative is {derivative}"
    return found if origin.became is None else f"{found}, then {plainly(origin.became)}"


def _calculated(step: Calculation) -> str:
    """`log` at 0 gives -inf; `div`: 2 / 0 = inf."""
    if step.op in SIGNS and len(step.operands) == 2:
        return f"`{step.op}`: {plainly(step)}"
    at, result = _point(step.operands), number(step.result)
    return f"`{step.op}` at {at} gives {result}" if at else f"`{step.op}` gives {result}"


def plainly(step: Calculation) -> str:
    operands = [number(value) for value in step.operands]
    if step.op in SIGNS and len(operands) == 2:
        return f"{operands[0]} {SIGNS[step.op]} {operands[1]} = {number(step.result)}"
    return f"{step.op}({', '.join(operands[:SHOWN])}) = {number(step.result)}"


def _point(operands: Sequence[float]) -> str:
    """Empty where none is a number."""
    numbers = [number(value) for value in operands if value == value][:SHOWN]
    return f"({', '.join(numbers)})" if len(numbers) > 1 else "".join(numbers)


def _extent(origin: Origin) -> str:
    if origin.size <= 1 or not origin.elements:
        return ""
    return f" ({origin.elements:,} of {origin.size:,} elements)"


def in_loops(steps: Sequence[int]) -> str:
    """A sentence on the iteration; empty outside of loops."""
    if not steps:
        return ""
    inner = "".join(f", step {step + 1} of the loop inside it" for step in steps[1:])
    return f" It happens at step {steps[0] + 1} of the loop{inner}."


def _evidence(measurement: Measurement, origin: Origin) -> dict[str, Number]:
    found: dict[str, Number] = {
        "cause": origin.cause.value,
        "op": origin.derivative_of or origin.op,
        "result": origin.result if origin.became is None else origin.became.result,
        "elements": origin.elements,
        "size": origin.size,
        "loss": measurement.loss,
        "poisoned_parameters": len(origin.poisoned),
        "parameters": len(measurement.parameters),
    }
    operands = origin.forward_operands if origin.derivative_of else origin.operands
    found |= {f"operand_{i}": value for i, value in enumerate(operands[:SHOWN], 1)}
    found |= {f"step_{i}": step for i, step in enumerate(origin.steps, 1)}
    return found
