"""Steps move the output of a layer by more, or by less, the wider the network is.

## What it does
With `check --widths 64,128,256`, reports layers whose output a few steps of the optimizer change by an amount
that goes as a power of the width: growing or falling. And layers whose output at the start grows with it.

## Why is this bad
A learning rate that was tuned on a narrow network is then wrong for a wide one. Where changes grow with the
width, the same rate diverges in a wide network; where they fall, its layers stop learning features, and what
is trained is in the limit the last layer alone. In muP (the maximal update parametrization) every layer's
change is of the same size at every width, and the rate transfers.

## How it is measured
The network is made at each width from at least three seeds, and trained for a few steps (3, or `--steps`)
with the file's optimizer. On the first batch, with the same random numbers, the output of each layer before
and after the steps is compared: the root mean square of the difference, over its elements. The exponent e of
difference = c width^e is fitted by least squares to the logarithms over all widths and seeds; the 95 %
interval of the fit holds both what the seeds differ by and how far the widths are from one power. It takes
three widths and two different starts. A layer is hidden where inputs and outputs of its weight grow with the
width, an output layer where the inputs alone do, an input layer where the outputs alone do.

## Limits
`exponent = 0.2`: the whole interval lies beyond it, on one side. Source: measured on networks of width 64 to
512 in muP, see `docs/widths.md`; twice as large a width then changes the outputs by more than 15 %. At the
start only growth counts: an output that begins smaller in wider networks is what muP asks for. A change
that falls no faster than as width^-0.5 is not judged in a layer with more rows in the batch than inputs: what
the rows add to each other's change is a random sum over the inputs, which averages out as the network grows,
in muP too (measured there at the output of a transformer, from width 32 on: -0.28 with 192 rows, -0.03 with
12).

## Example
    optimizer = optax.adam(1e-3)             # the same rate for every layer, whatever the width

Use instead, for Adam, a rate of hidden layers that falls with their width, and outputs divided by it:

    hidden = optax.adam(1e-3 * 64 / width)   # 64: the width at which 1e-3 was tuned
    optimizer = optax.multi_transform({"hidden": hidden, "other": optax.adam(1e-3)}, labels)
    logits = h @ params["leave"] * (64 / width)

## What it does not say
Whether the network trains well at its own width: this is a note. What many steps do: after thousands of them
other things than the parametrization decide. A change that a layer only hands on counts for that layer, too:
the first layer named is where to begin. Layers whose change is lost in the rounding of their dtype, or is not
finite, are listed as not judged.

## Source
Yang and Hu 2021, *Tensor Programs IV*, arXiv:2011.14522; Yang et al. 2022, *Tensor Programs V: Tuning Large
Neural Networks via Zero-Shot Hyperparameter Transfer*, arXiv:2203.03466: tables 3 and 8, and appendix D.1 for
the coordinate check.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import Exponent, LayerOverWidths, Parametrization, Severity, Skipped
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of, number

NAME = "width-dependent-updates"
AVERAGED = -0.5
"""Exponent of the width with which a mean of so many independent numbers falls."""
GROWING = {
    "hidden": "for a hidden layer a rate of Adam that is divided by the width",
    "output": "for an output layer a factor of a constant over the width on what it puts out",
    "input": "for an input layer a rate of Adam that is the same at each width",
}
FALLING = {
    "hidden": "for a hidden layer a rate of Adam that falls with the width no faster than 1 over it",
    "output": "for an output layer one factor of 1 over the width, on what it puts out or on its rate",
    "input": "for an input layer a rate of Adam that is the same at each width",
}


@rule("width-dependent-updates", severity=Severity.NOTE, needs=("parametrization",), exponent=0.2)
def width_dependent_updates(found: Parametrization, limits: Limits) -> Iterator[Hit | Skipped]:
    limit = limits["exponent"]
    judged = [each for each in found.layers if not each.unjudged]
    growing = [each for each in judged if _beyond(each.change, limit) > 0]
    fallen = [each for each in judged if _beyond(each.change, limit) < 0]
    averaged = [each for each in fallen if _may_average_out(each)]
    falling = [each for each in fallen if each not in averaged]
    started = [each for each in judged if _beyond(each.start, limit) > 0]
    if started:
        yield _at_start(started, found, limit)
    if growing:
        yield _changed(growing, found, limit, GROWING)
    if falling:
        yield _changed(falling, found, limit, FALLING)
    reasons: dict[str, list[str]] = {}
    for each in found.layers:
        if each.unjudged:
            reasons.setdefault(each.unjudged, []).append(each.layer)
    for reason, layers in reasons.items():
        every = len(layers) == len(found.layers)
        yield Skipped(NAME if every else f"{NAME} in {', '.join(layers)}", reason)
    if averaged:
        first = averaged[0]
        yield Skipped(
            f"{NAME} in {', '.join(each.layer for each in averaged)}",
            f"its change falls, by less than width^{number(AVERAGED)}: with more rows ({first.rows:,}) than "
            f"inputs ({first.inputs:,} at width {found.widths[0]}) it may do so in muP, too",
        )


def _may_average_out(layer: LayerOverWidths) -> bool:
    """What single rows of a batch add to each other's change is a random sum over the inputs, and falls as
    width^-0.5 to what they have in common. With few rows it is small from the beginning."""
    exponent = layer.change
    within = exponent is not None and exponent.high > AVERAGED
    return within and layer.kind in ("hidden", "output") and layer.rows > layer.inputs


def _beyond(exponent: Exponent | None, limit: float) -> int:
    if exponent is None:
        return 0
    return int(exponent.low > limit) - int(exponent.high < -limit)


def _changed(
    layers: Sequence[LayerOverWidths],
    found: Parametrization,
    limit: float,
    remedies: dict[str, str],
) -> Hit:
    first = layers[0]
    exponent = first.change
    assert exponent is not None
    kinds = [kind for kind in remedies if any(each.kind == kind for each in layers)]
    told = "; ".join(remedies[kind] for kind in kinds)
    narrow, wide = _ends(first)
    return Hit(
        message=(
            f"{_steps(found)} change the output of {names_of([each.layer for each in layers])} by "
            f"{'more' if exponent.value > 0 else 'less'} the wider the network is: that of `{first.layer}` "
            f"by {number(narrow)} at width {found.widths[0]} and {number(wide)} at width {found.widths[-1]}, "
            f"as width^{_text(exponent)} (limit {number(limit)}). A learning rate that fits one width may "
            "not fit another."
        ),
        remedy=(
            f"If rates are to hold at other widths, muP may help: {told}. Table 8 of Yang et al. 2022 "
            "(arXiv:2203.03466) has the rules, for SGD, too."
            if told
            else "If rates are to hold at other widths, look at what of this layer depends on the width."
        ),
        evidence=_evidence(exponent, limit, len(layers)),
        layer=first.layer,
        layers=tuple(each.layer for each in layers),
    )


def _at_start(layers: Sequence[LayerOverWidths], found: Parametrization, limit: float) -> Hit:
    first = layers[0]
    exponent = first.start
    assert exponent is not None
    return Hit(
        message=(
            f"Before the first step the output of {names_of([each.layer for each in layers])} is larger the "
            f"wider the network is: that of `{first.layer}` goes as width^{_text(exponent)} (limit "
            f"{number(limit)}) from width {found.widths[0]} to {found.widths[-1]}."
        ),
        remedy="Begin with a variance of 1 over the number of inputs of the layer: divide what is drawn by "
        "`sqrt(fan_in)`.",
        evidence=_evidence(exponent, limit, len(layers)),
        layer=first.layer,
        layers=tuple(each.layer for each in layers),
    )


def _evidence(exponent: Exponent, limit: float, layers: int) -> dict[str, float]:
    return {
        "exponent": exponent.value,
        "low": exponent.low,
        "high": exponent.high,
        "layers": layers,
        "limit": limit,
    }


def _ends(layer: LayerOverWidths) -> tuple[float, float]:
    """The mean over the seeds at the narrowest and at the widest."""
    widths = [point.width for point in layer.points]
    means = []
    for width in (min(widths), max(widths)):
        changes = [point.change for point in layer.points if point.width == width]
        means.append(sum(changes) / len(changes))
    return means[0], means[1]


def _steps(found: Parametrization) -> str:
    return f"{count(found.steps, 'step')} of {found.optimizer}"


def _text(exponent: Exponent) -> str:
    return f"{exponent.value:.2f} ({exponent.low:.2f} to {exponent.high:.2f})"
