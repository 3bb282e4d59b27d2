"""δ or the activations change along the layers differently than when the baseline was written.

## What it does
Compares the profile of a run with the one in its baseline (`gradscope check --baseline FILE`) and reports
where δ = ∂L/∂z, or the output of the layers, decays or grows from layer to layer by far more than then. It
applies with a baseline only.

## Why is this bad
A change of code may have affected training unintentionally: an initialization that lost its factor, a
residual connection that was dropped, an activation function that was swapped. The network still runs and may
be within every other limit, but its layers no longer learn at the rates at which they did.

## How it is measured
By the logarithm of what δ is now over what it was, layer by layer, in the order of depth. It must fall or
rise *steadily*, as in `vanishing-gradient`: so a factor common to all layers cancels (the scale of the loss,
a sum in place of a mean, the size of the batch), and a single jump is not a change of the profile (a head at
a hundredth of its scale, a loss weight). δ is taken by its norm, which the width of a layer does not change.
The new profile must itself decay or grow by as much, so that an improvement is not reported. Activations are
compared in the same way, and also as a whole, since their scale is not arbitrary: if the middle one is a
hundred times larger or smaller than it was, and further from 1, that is a change. The gradient of a weight is
δ times the input of its layer, so both are compared.

Layers are matched by name. A layer that only the run or only the baseline has is not compared (the report
says that the baseline is stale), nor is one that is exactly zero in one of them (a zero-initialized head).
Where the matching layers are at fewer than `depths` depths, the report says that nothing was compared.

## Limits
- `factor = 30`: how far δ, or the activations, moved in all, from one end of the stretch to the other.
  Source: over six seeds of every file of `sample_models/` with four depths or more, each taken as the
  baseline of each other, healthy files moved by at most 3.7 (δ) and 6.6 (activations), half of them by less
  than 1.01; the failing one that moved most, whose activations vanish over 22 layers, by 18.
  Where the baseline has the spread over seeds, three times that is added to the logarithm.
- `shift = 100`: how far the middle one of the activations moved. Source: the same pairs moved by at most 4.7.
- `depths = 4`: as in `vanishing-gradient`; with fewer, a decay cannot be distinguished from a jump.

## Example
    x = layer(x)                  # the baseline was written with x + layer(x)

Use instead:

    x = x + layer(x)

## What it does not say
Whether the change is bad for the task. If it was intended, write the baseline again. It does
not look at recurrences step by step (`vanishing-through-time` and `exploding-through-time` do), nor at
networks of fewer than four depths. A new or worse finding of `vanishing-gradient` or
`exploding-gradient` at the same layers takes the place of this one; a finding in the baseline does not.

## Source
The profile is that of Glorot and Bengio 2010 (AISTATS), figures 6 and 7; the limits are measured, as
described above.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gradscope.records import Layer, LayerProfile, Measurement, Reference, Severity, Skipped
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.profile import Fall, factor, steady_fall
from gradscope.rules.words import names_of, number

Value = Callable[[Layer | LayerProfile], float | None]
INTENDED = "If the change was intended, write the baseline again: `--write-baseline {file}`."
LOOK = "Look at what changed since: the initialization, an activation function, a residual connection."
LOOK_AT_SCALE = "Look at the scale of the input and of the first layer."


@dataclass(frozen=True, slots=True)
class DepthChange:
    """One depth: the layer that represents it, and the logarithms of its value then and now."""

    layer: Layer
    old: float
    new: float
    spread: float

    @property
    def moved(self) -> float:
        return self.new - self.old


@rule(
    "changed-profile",
    severity=Severity.ERROR,
    symptom_of=("non-finite", "vanishing-gradient", "exploding-gradient", "vanishing-through-time"),
    needs=("flow", "reference"),
    factor=30,
    shift=100,
    depths=4,
)
def changed_profile(
    measurement: Measurement, reference: Reference, limits: Limits
) -> Iterator[Hit | Skipped]:
    if why := _unmatched(measurement, reference, int(limits["depths"])):
        yield Skipped("changed-profile", why)
        return
    deltas = _changes(measurement, reference, lambda layer: layer.delta_norm)
    values = _changes(measurement, reference, lambda layer: layer.activation_rms)
    found = _steadily(deltas, limits, "δ", reference) or _steadily(values, limits, "activation", reference)
    found = found or _as_a_whole(values, limits, reference)
    if found is not None:
        yield found


def _unmatched(measurement: Measurement, reference: Reference, least: int) -> str:
    """Why the run cannot be compared, unless the network itself is that shallow; else empty."""
    known = {layer.name for layer in reference.layers}
    depths = {layer.depth for layer in measurement.layers if layer.depth is not None}
    matched = {layer.depth for layer in measurement.layers if layer.depth is not None and layer.name in known}
    if len(depths) < least or len(matched) >= least:
        return ""
    return (
        f"{len(matched)} of {len(depths)} depths have a layer with a name in the baseline, and {least} are "
        f"needed: write the baseline again (`--write-baseline {reference.baseline}`)"
    )


def _changes(measurement: Measurement, reference: Reference, value: Value) -> list[DepthChange]:
    """In the order of depth. Of layers at the same depth the largest counts, then and now: credit takes the
    best path, and which of them that is may change."""
    before = {layer.name: layer for layer in reference.layers}
    sides: dict[int, list[tuple[Layer, float, float, float]]] = {}
    for layer in measurement.layers:
        old = _logarithm(value(before[layer.name])) if layer.name in before else None
        new = _logarithm(value(layer))
        if layer.depth is None or old is None or new is None or (layer.op == "gather" and layer.uses > 1):
            continue
        spread = before[layer.name].delta_norm_spread or 0.0
        sides.setdefault(layer.depth, []).append((layer, old, new, spread if math.isfinite(spread) else 0.0))
    return [
        DepthChange(
            layer=max(alike, key=lambda each: each[2])[0],
            old=max(each[1] for each in alike),
            new=max(each[2] for each in alike),
            spread=max(each[3] for each in alike),
        )
        for _, alike in sorted(sides.items())
    ]


def _logarithm(value: float | None) -> float | None:
    return math.log(value) if value and math.isfinite(value) and value > 0 else None


def _steadily(changes: Sequence[DepthChange], limits: Limits, what: str, reference: Reference) -> Hit | None:
    if len(changes) < limits["depths"]:
        return None
    least = math.log(limits["factor"]) + 3 * max(change.spread for change in changes)
    for sign in (1, -1):
        moved = [sign * change.moved for change in changes]
        # A rise is measured from its peak, as in `exploding-gradient`.
        start = 0 if sign > 0 else moved.index(min(moved))
        fall = steady_fall(moved[start:], least)
        now = steady_fall([sign * change.new for change in changes[start:]], math.log(limits["factor"]))
        if fall is not None and now is not None:
            return _hit(changes[start:], fall, sign, what, limits, reference)
    return None


def _hit(
    changes: Sequence[DepthChange], fall: Fall, sign: int, what: str, limits: Limits, reference: Reference
) -> Hit:
    stretch = changes[fall.first : fall.last + 1]
    first, last = stretch[0].layer, stretch[-1].layer
    if what == "δ":  # It runs back from the loss.
        total, subject, end, start = factor(-sign * fall.total), "δ at", first, last
    else:
        total, subject, end, start = factor(sign * fall.total), "The output of", last, first
    return Hit(
        message=(
            f"{subject} `{end.name}`, relative to that of `{start.name}`, is {_times(total)} what it was "
            f"when the baseline was written (limit {number(limits['factor'])}): it "
            f"{'grows' if total > 1 else 'shrinks'} from layer to layer between them."
        ),
        remedy=f"{LOOK} {INTENDED.format(file=reference.baseline)}",
        evidence=_evidence(what, total, limits["factor"], [change.layer for change in stretch]),
        layer=first.name,
        source=first.source,
        layers=tuple(change.layer.name for change in stretch),
    )


def _as_a_whole(changes: Sequence[DepthChange], limits: Limits, reference: Reference) -> Hit | None:
    """By the middle one of the layers: a head may start at a hundredth of its scale."""
    if len(changes) < limits["depths"]:
        return None
    middle = sorted(changes, key=lambda change: change.moved)[len(changes) // 2]
    away = abs(middle.new) - abs(middle.old)
    if away < math.log(limits["shift"]):
        return None
    total = factor(middle.moved)
    moved = [change.layer for change in changes if change.moved * middle.moved > 0]
    return Hit(
        message=(
            f"The outputs of {names_of([layer.name for layer in moved])} are {_times(total)} what they were "
            f"when the baseline was written (limit {number(limits['shift'])})."
        ),
        remedy=f"{LOOK_AT_SCALE} {INTENDED.format(file=reference.baseline)}",
        evidence=_evidence("activation", total, limits["shift"], moved),
        layer=moved[0].name,
        source=moved[0].source,
        layers=tuple(layer.name for layer in moved),
    )


def _times(total: float) -> str:
    return f"{number(total)} times" if total >= 1 else f"{number(total)} of"


def _evidence(what: str, total: float, limit: float, layers: Sequence[Layer]) -> Mapping[str, float | str]:
    return {"of": "delta" if what == "δ" else what, "total": total, "limit": limit, "layers": len(layers)}
