"""Describes an infinity that is divided away: where it was born, where it is gone, what that makes zero."""

from __future__ import annotations

from gradscope.records import Cause, LostInfinity, Measurement, Number, Origin
from gradscope.rules.base import Hit
from gradscope.rules.numerics.origins import in_loops, plainly, what_happened
from gradscope.rules.numerics.remedies import EXPLAINED
from gradscope.rules.words import count, names_of


def lost_finding(measurement: Measurement, lost: LostInfinity) -> Hit:
    """One finding for all layers whose gradient the infinity makes zero."""
    origin, leaves = lost.origin, list(lost.origin.poisoned)
    layers = tuple(layer.name for layer in measurement.layers if {*layer.parameters} & {*leaves})
    why, remedy = _explained(origin)
    place = "" if lost.gone_at in (None, origin.source) else f" ({lost.gone_at})"
    gone = (
        f"It is an infinity that is divided away: {plainly(lost.gone)}{place}, and so is the derivative. So "
        f"the loss is finite, and the gradient of {count(len(leaves), 'parameter')} is exactly zero: "
        f"{names_of(leaves)}. With the largest finite {origin.dtype} in its place ({lost.largest:.5g}) it is "
        "not zero."
    )
    return Hit(
        message=f"{what_happened(origin)}.{in_loops(origin.steps)} {why} {gone}",
        remedy=remedy,
        evidence=_evidence(measurement, lost),
        layer=origin.layer if origin.layer in layers or not layers else layers[-1],
        source=origin.source,
        layers=layers,
        explains=layers,
    )


def _explained(origin: Origin) -> tuple[str, str]:
    """Why it overflows, and what to write instead."""
    why, remedy = EXPLAINED[origin.cause]
    if origin.cause is Cause.HALF_PRECISION:
        return why, (
            "Compute this part in float32 (`x.astype(jnp.float32)` before it, and back after the division), "
            "or use bfloat16, which has the range of float32."
        )
    if origin.cause is Cause.OVERFLOW and "norm" in origin.within:
        return why, (
            "Scale before squares are taken: `m = jnp.max(jnp.abs(x), axis=-1, keepdims=True)`, then "
            "normalize `x / m`, which has the same direction; or bring `x` itself (the data, the weights) "
            "to about 1."
        )
    return why, remedy


def _evidence(measurement: Measurement, lost: LostInfinity) -> dict[str, Number]:
    origin = lost.origin
    return {
        "cause": origin.cause.value,
        "op": origin.op,
        "gone_in": lost.gone.op,
        "result": origin.result,
        "elements": origin.elements,
        "size": origin.size,
        "largest": lost.largest,
        "zero_gradients": len(origin.poisoned),
        "parameters": len(measurement.parameters),
    }
