"""Adam forgets the square of the gradient faster than the gradient: its decay rates are swapped, or close.

## What it does
Reports an optimizer whose moving average of the gradient keeps more of itself at each step (`b1`) than the
root of what that of the square keeps (`b2`): Adam with `b1=0.999, b2=0.9`.

## Why is this bad
The step is the average gradient over the root of the average square. Where the square is forgotten first, the
divisor falls while the numerator still has the large gradient of long ago: steps become far too large, in a
direction that no longer holds. No proof that Adam converges covers such rates, and with a slow `b1` the
optimizer also needs a thousand steps to change its direction.

## How it is measured
By asking the optimizer itself, whatever it is wrapped in: a fresh state is given a small gradient, and then
zeros. An array of the state that doubles with the gradient is an average of it, one beside it that becomes
four times as large is that of the square, and what each keeps of itself at a gradient of zero is its rate,
the same in all elements that were looked at (4,096 of an array) and at two steps. The short training is then
run five times as long, as it is and with the two rates exchanged: its averages are set before each step so
that they are those of the other rates, corrected for their bias, and the optimizer does all else as before.

## Limits
`worse = 0.1`: an error; as it is the loss ends higher by more than this share of what the training with
exchanged rates has lowered it by. A forecaster with 0.999 and 0.9 lost 0.18 in 100 steps. Source: that
measurement. Else it is a warning: `b1² > b2`, the condition of the proofs (`b1²/√b2 < 1` in Kingma and Ba,
`b1 < √b2` in Reddi et al.), is exact.

## Example
    optimizer = optax.adam(1e-3, b1=0.999, b2=0.9)

Use instead:

    optimizer = optax.adam(1e-3, b1=0.9, b2=0.999)

## What it does not say
Equal rates, as 0.95 and 0.95, are within the condition. One that makes its step from several gradients at
once, or that scales each gradient to one size, is not seen; one that goes on from a state is not tried. Where
an optimizer does not correct the bias of its averages, the one with exchanged rates begins with other steps.

## Source
Kingma and Ba 2015, *Adam*, arXiv:1412.6980; Reddi et al. 2018, *On the Convergence of Adam and Beyond*,
arXiv:1904.09237; Humbatova et al. 2020, *Taxonomy of Real Faults in Deep Learning Systems* (suboptimal
hyperparameters).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import DecayRates, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number


@rule("mismatched-betas", severity=Severity.ERROR, needs=("training",), worse=0.1)
def mismatched_betas(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    found = training.decay_rates
    if found is None:
        return
    yield Hit(
        message=(
            f"Your optimizer's average of the gradient keeps {found.first:.4g} of itself at each step, and "
            f"that of its square {found.second:.4g}: the first (b1) is above the root of the second (b2), "
            f"{number(math.sqrt(found.second))}.{_trial(found)}"
        ),
        remedy=(
            f"Exchange them: `b1={found.second:.4g}, b2={found.first:.4g}`. The defaults of Adam are "
            "`b1=0.9, b2=0.999`."
        ),
        evidence={
            "b1": found.first,
            "b2": found.second,
            "limit": limits["worse"],
            **(
                {
                    "loss_before": found.start,
                    "loss_after": found.end,
                    "loss_after_with_exchanged_rates": found.end_exchanged,
                }
                if found.steps
                else {}
            ),
        },
        severity=Severity.ERROR if _costs(found, limits["worse"]) else Severity.WARNING,
        layers=training.layers,
        explains=None,
    )


def _trial(found: DecayRates) -> str:
    if not found.steps:
        return ""
    return (
        f" {found.steps} steps take the loss from {number(found.start)} to {number(found.end)}, and to "
        f"{number(found.end_exchanged)} with the two exchanged."
    )


def _costs(found: DecayRates, limit: float) -> bool:
    gained = found.start - found.end_exchanged
    if not (found.steps and math.isfinite(gained) and gained > 0):
        return False
    return not found.end - found.end_exchanged <= limit * gained
