"""δ or the activations run through the layers otherwise than when the baseline was written.

## What it does
Compares the profile of a run with the one in its baseline (`gradscope check --baseline FILE`) and reports
where δ = ∂L/∂z, or the output of the layers, decays or grows from layer to layer by far more than then.
Without a baseline it says nothing.

## Why is this bad
A change of code that was not meant to touch training did: an initialization that lost its factor, a residual
connection that was dropped, an activation function that was swapped. The network still runs and may still
be inside every absolute limit, but its layers no longer learn at the pace at which they did.

## How it is measured
By the logarithm of what δ is now over what it was, layer by layer, in the order of depth. It has to fall or
rise *steadily* along the way, as in `vanishing-gradient`: so the factor that all layers share cancels (the
scale of the loss, a sum in place of a mean, the size of the batch), and one jump is no change of the
profile (a head at a hundredth of its scale, a loss weight). δ is taken by its norm, which the width of a
layer does not change. The new profile must itself decay or grow by as much: a cure does not fire.
Activations are compared in the same way, and as a whole: no scale is free there, so all of them a hundred
times larger or smaller than they were, and further from 1, is a change. The gradient of a weight is δ times
the input of its layer: both are watched.

Layers are matched by name. One that only the run or only the baseline has is left out (the report says that
the baseline is stale), and so is what is exactly zero in one of them (a zero-initialized head). Where the
layers that match stand at fewer than `depths` depths, the report says that nothing was compared.

## Limits
- `factor = 30`: how far δ, or the activations, moved in all, from one end of the stretch to the other.
  Source: over six seeds of every file of `sample_models/` with four depths or more, each taken as the
  baseline of each other, healthy files moved by at most 3.7 (δ) and 6.6 (activations), half of them by less
  than 1.01; the furthest sick one, whose activations vanish over 22 layers, by 18.
  Where the baseline knows the spread over seeds, three times that is added to the logarithm.
- `shift = 100`: how far the middle one of the activations moved. Source: the same pairs moved by at most 4.7.
- `depths = 4`: as in `vanishing-gradient`; fewer cannot tell a decay from a jump.

## Example
    x = layer(x)                  # the baseline was written with x + layer(x)

Use instead:

    x = x + layer(x)

## What it does not say
Whether the change is bad for the task: it is a change. If it was meant, write the baseline again. It does
not look at recurrences step by step (`vanishing-through-time` and `exploding-through-time` do), nor at
networks of fewer than four depths. Where a finding of `vanishing-gradient` or `exploding-gradient` that is
new or worse names the same layers, it speaks for the change; one that the baseline knows does not.

## Source
The profile is that of Glorot and Bengio 2010 (AISTATS), figures 6 and 7; the limits are measured, as said
above.
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
MEANT = "If the change was meant, write the baseline again: `--write-baseline {file}`."
LOOK = "Look at what changed since: the initialization, an activation function, a residual connection."
LOOK_AT_SCALE = "Look at the scale of the input and of the first layer."


@dataclass(frozen=True, slots=True)
class Place:
    """One depth: the layer that speaks for it, and the logarithms of its value then and now."""

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
    deltas = _places(measurement, reference, lambda layer: layer.delta_norm)
    values = _places(measurement, reference, lambda layer: layer.activation_rms)
    found = _steadily(deltas, limits, "δ", reference) or _steadily(values, limits, "activation", reference)
    found = found or _as_a_whole(values, limits, reference)
    if found is not None:
        yield found


def _unmatched(measurement: Measurement, reference: Reference, least: int) -> str:
    """Why nothing can be compared, where that is no property of the network; else empty."""
    known = {layer.name for layer in reference.layers}
    depths = {layer.depth for layer in measurement.layers if layer.depth is not None}
    matched = {layer.depth for layer in measurement.layers if layer.depth is not None and layer.name in known}
    if len(depths) < least or len(matched) >= least:
        return ""
    return (
        f"{len(matched)} of {len(depths)} depths have a layer that the baseline knows by name, and {least} "
        f"are needed: write the baseline again (`--write-baseline {reference.baseline}`)"
    )


def _places(measurement: Measurement, reference: Reference, value: Value) -> list[Place]:
    """In the order of depth. Of layers side by side the largest speaks, then and now: credit takes the best
    path, and which of them that is may change."""
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
        Place(
            layer=max(beside, key=lambda each: each[2])[0],
            old=max(each[1] for each in beside),
            new=max(each[2] for each in beside),
            spread=max(each[3] for each in beside),
        )
        for _, beside in sorted(sides.items())
    ]


def _logarithm(value: float | None) -> float | None:
    return math.log(value) if value and math.isfinite(value) and value > 0 else None


def _steadily(places: Sequence[Place], limits: Limits, what: str, reference: Reference) -> Hit | None:
    if len(places) < limits["depths"]:
        return None
    least = math.log(limits["factor"]) + 3 * max(place.spread for place in places)
    for sign in (1, -1):
        moved = [sign * place.moved for place in places]
        # A rise is followed from its peak on, as `exploding-gradient` does.
        start = 0 if sign > 0 else moved.index(min(moved))
        change = steady_fall(moved[start:], least)
        now = steady_fall([sign * place.new for place in places[start:]], math.log(limits["factor"]))
        if change is not None and now is not None:
            return _hit(places[start:], change, sign, what, limits, reference)
    return None


def _hit(
    places: Sequence[Place], change: Fall, sign: int, what: str, limits: Limits, reference: Reference
) -> Hit:
    stretch = places[change.first : change.last + 1]
    first, last = stretch[0].layer, stretch[-1].layer
    if what == "δ":  # it runs from the loss back
        total, subject, end, start = factor(-sign * change.total), "δ at", first, last
    else:
        total, subject, end, start = factor(sign * change.total), "The output of", last, first
    return Hit(
        message=(
            f"{subject} `{end.name}` is {_times(total)} what it was against that of `{start.name}`: on the "
            f"way there it {'grows' if total > 1 else 'shrinks'} from layer to layer, by so much more than "
            f"when the baseline was written (limit {number(limits['factor'])})."
        ),
        remedy=f"{LOOK} {MEANT.format(file=reference.baseline)}",
        evidence=_evidence(what, total, limits["factor"], [place.layer for place in stretch]),
        layer=first.name,
        source=first.source,
        layers=tuple(place.layer.name for place in stretch),
    )


def _as_a_whole(places: Sequence[Place], limits: Limits, reference: Reference) -> Hit | None:
    """The middle one of the layers: a head may start at a hundredth of its scale."""
    if len(places) < limits["depths"]:
        return None
    middle = sorted(places, key=lambda place: place.moved)[len(places) // 2]
    away = abs(middle.new) - abs(middle.old)
    if away < math.log(limits["shift"]):
        return None
    total = factor(middle.moved)
    moved = [place.layer for place in places if place.moved * middle.moved > 0]
    return Hit(
        message=(
            f"The outputs of {names_of([layer.name for layer in moved])} are {_times(total)} what they were "
            f"when the baseline was written (limit {number(limits['shift'])})."
        ),
        remedy=f"{LOOK_AT_SCALE} {MEANT.format(file=reference.baseline)}",
        evidence=_evidence("activation", total, limits["shift"], moved),
        layer=moved[0].name,
        source=moved[0].source,
        layers=tuple(layer.name for layer in moved),
    )


def _times(total: float) -> str:
    return f"{number(total)} times" if total >= 1 else f"{number(total)} of"


def _evidence(what: str, total: float, limit: float, layers: Sequence[Layer]) -> Mapping[str, float | str]:
    return {"of": "delta" if what == "δ" else what, "total": total, "limit": limit, "layers": len(layers)}
