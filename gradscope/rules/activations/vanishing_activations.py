"""The outputs of the layers shrink with depth, so that the last ones see next to nothing of the input.

## What it does
Follows the root mean square of the outputs of the hidden matrix products and convolutions from the first to
the last and reports a steady fall to a thousandth or less.

## Why is this bad
The gradient of a weight is δ times the input of its layer: where that is small, so is the gradient, even
where δ is level. What reaches the last layers is soon lost beside their biases, and in half precision in
rounding.

## How it is measured
By the rms before the activation function, at each depth (the longest path from the input; of layers at the
same depth the largest counts). A fall counts only if no later layer is larger again. The last layer is left
out: a head may begin at any scale.

## Limits
- `ratio = 1e-3`: of the last of these layers over the first. Source: a choice, the mirror of the limit of
  `vanishing-gradient`; as there, without its largest step the fall must still be `ratio ** 0.5`, and without
  its two largest `ratio ** 0.25`.

Where rescaled weights were tried and trained no better, it is a note; where they trained better the finding
is `mis-scaled-initialization`.
Where more than a tenth of the loss is left, and less than half of that from the rescaled weights, it stays a
warning.

## Example
    for w in params:                      # w = normal(key, (256, 256)) * 0.01
        x = jax.nn.relu(x @ w)

Use instead:

    for w in params:                      # He: w = normal(key, (256, 256)) * sqrt(2 / 256)
        x = jax.nn.relu(x @ w)

## What it does not say
Where δ shrinks, too, the finding is `vanishing-gradient`. Fewer than four such depths are not judged.

## Source
Glorot and Bengio 2010 (AISTATS); He et al. 2015, arXiv:1502.01852; Mishkin and Matas 2016, arXiv:1511.06422.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShortTraining
from gradscope.rules.activations.sizes import hits
from gradscope.rules.base import Hit, Limits, rule


@rule(
    "vanishing-activations",
    severity=Severity.WARNING,
    symptom_of=("non-finite", "vanishing-gradient", "mis-scaled-initialization"),
    uses=("training",),
    ratio=1e-3,
)
def vanishing_activations(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    return hits(measurement, training, limits["ratio"], "shrink")
