"""A normalization uses running statistics that no batch has set: it scales by hundreds, or not at all.

## What it does
Reports a normalization whose divisor is the root of a state (a running variance) and an epsilon, where no
element of that state is larger than the epsilon; and one where all of them are exactly 1, if the network
trains clearly better with the statistics of the batch in their place.

## Why is this bad
A running variance of 0 says that no batch has been seen. In inference mode the input is divided by the root
of the epsilon alone: multiplied by 316 for 1e-5, at every such layer. Activations and gradients explode, and
no initialization, clipping or residual connection changes that. A running variance of 1 beside a mean of 0
is where Flax, Haiku and Keras begin: in inference mode such a layer normalizes nothing.

## How it is measured
From the program (its jaxpr) and exactly: the operand of a root that divides is a sum of a small number and of
a value that comes from the state alone, from no parameter that is computed with and from no example of the
batch; that value is computed, and all of its elements are looked at. Where they are 1, the short training is
run once more, five times as long, with what is multiplied by the inverse of the root brought to mean 0 and
standard deviation 1 over the batch, feature by feature.

## Limits
None: no element exceeds the epsilon. Source: the divisor is then at most 1.42 times the root of the epsilon.
Variances of 1 are an error where the statistics of the batch are clearly better: the steps gain twice as
much with them, or end at half of the loss or less. Else nothing is said of them, nor where it was not tried.
A loss that falls by 1 % of itself or less with it is not better, nor one that falls by less than a tenth of
what it falls by without, unless it ends at half that share of its start or less.

## Example
    model = eqx.nn.inference_mode(model)           # BatchNorm has seen no batch yet
    out, state = jax.vmap(model, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)

Use instead:

    model = eqx.nn.inference_mode(model, False)    # statistics of the batch, which fill the state

## What it does not say
Statistics of a trained model are not reported, nor is a state of which some elements are 0 (channels that
are dead), nor statistics that are parameters, nor what is multiplied by the root (an output that is scaled
back), a difference with data of each example, or what no parameter scales or is multiplied with afterwards:
an error in units of a standard deviation of 1. Whether the other mode is right for this loss is for you to
say: to train, the statistics are those of the batch; to evaluate, load those of the training.

## Source
Ioffe and Szegedy 2015, *Batch Normalization*, arXiv:1502.03167.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, Severity, ShortTraining, Source, UnsetState
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.variants import compared
from gradscope.rules.words import count, number

_REMEDY = (
    "To train, run the normalization in training mode, so that it uses the statistics of the batch and fills "
    "its state; to evaluate, load the statistics of the training."
)


@rule("wrong-mode", severity=Severity.ERROR, uses=("training",), single_seed_suffices=True)
def wrong_mode(measurement: Measurement, training: ShortTraining | None, limits: Limits) -> Iterator[Hit]:
    del limits
    lines: dict[Source | None, list[UnsetState]] = {}
    for state in measurement.objective.unset_states:
        lines.setdefault(state.source, []).append(state)
    for found in lines.values():
        yield _hit(found)
    yield from _untouched(measurement, training)


def _untouched(measurement: Measurement, training: ShortTraining | None) -> Iterator[Hit]:
    found, tried = measurement.structure.untouched, measurement.structure.over_batch
    if not found or tried is None or not tried.better:
        return
    first, variances = found[0], sum(each.variances for each in found)
    places = "" if len(found) == 1 else f" The same holds for {len(found) - 1} more."
    yield Hit(
        message=f"A normalization divides by the root of {count(first.variances, 'running variance')}, each "
        f"of which is exactly 1: no batch has updated them, and it normalizes nothing.{places}"
        f"{compared(tried, training, 'the mean and variance of the batch')}",
        remedy=_REMEDY,
        evidence={
            "variances": variances,
            "places": len(found),
            "loss_after": tried.end_without,
            "loss_after_batch_statistics": tried.end,
        },
        source=first.source,
        explains=None,
    )


def _hit(found: list[UnsetState]) -> Hit:
    first = found[0]
    elements = sum(state.size for state in found)
    held = count(elements, "element")
    largest = max(state.largest for state in found)
    factor = min(state.factor for state in found)
    places = f" This line does so {len(found)} times." if len(found) > 1 else ""
    return Hit(
        message=(
            f"A normalization divides by the root of a state whose {held} are at most {number(largest)}, "
            f"with {number(first.epsilon)} added: it multiplies by {number(factor)} or more. Running "
            f"statistics that were never set are 0.{places}"
        ),
        remedy=_REMEDY,
        evidence={
            "largest": largest,
            "epsilon": first.epsilon,
            "factor": factor,
            "elements": elements,
            "places": len(found),
        },
        layer=first.layer,
        source=first.source,
        layers=tuple(dict.fromkeys(state.layer for state in found if state.layer)),
        explains=None,
    )
