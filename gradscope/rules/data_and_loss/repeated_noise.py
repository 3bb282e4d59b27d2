"""Random numbers for each example are drawn with a constant key: they are the same at every step.

## What it does
Reports random numbers of the loss, drawn for each example, whose key is a constant of the program. They are
the same ones in every step: the noise of a denoiser, a mask of dropout, an augmentation, a sample of a latent
variable, a permutation.

## Why is this bad
Noise that never changes is data. The network learns the one draw by heart, its training loss falls faster
than it should, and on any other draw it is worse than one that was trained with new noise.

## How it is measured
From the program (its jaxpr), at any depth: a draw (`random_bits`, `random_gamma`: all of `jax.random` ends in
them) whose key is made of numbers that the program writes or closes over, and to which neither the key that
the loss is given nor a parameter, the batch or a state comes. The loss depends on it, and with one example
less in the batch it draws fewer numbers: random features and fixed projections, of the same shape for any
batch, are none. The short training is then run ten times as long from the same start, once as it is and once
with a new key at each step. Both ends are compared on noise that neither has seen.

## Limits
- `worse = 0.1`: an error; on noise it has not seen, the training as it is ends above that with new noise by
  more than this share of what the latter has lowered the loss by. A diffusion model with 192 points and one
  draw of noise reached 0.27 after 200 steps. Source: that measurement.
- `errors = 4`: and by more than so many standard errors over draws of the noise.

A difference of more than `errors` standard errors, or nothing tried, is a warning. Where the difference is
smaller, it is a note: an average over a fixed sample may be meant.

## Example
    def loss_fn(params, x):
        noise = jax.random.normal(jax.random.key(0), x.shape)
        return jnp.mean((denoise(params, x + noise) - x) ** 2)

Use instead:

    def loss_fn(params, x, key):
        noise = jax.random.normal(key, x.shape)
        return jnp.mean((denoise(params, x + noise) - x) ** 2)

## What it does not say
Numbers that NumPy draws while the loss is traced are constants, which look like data. Noise of one shape for
all examples is not told from a fixed feature, nor is any where the loss closes over its data. Where the loss
is not compiled and a counter of Python makes the key, the noise differs from step to step, and this is wrong.

## Source
JAX documentation, *Pseudorandom numbers*; Jiang et al. 2025, *Training with Confidence: Catching Silent
Errors in Deep Learning Training with Automated Proactive Checks* (OSDI).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gradscope.records import RepeatedNoise, RepeatedNoiseTrial, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import number

REMEDY = (
    "Give the loss a third parameter `key` and draw with it, with a new key for each step: "
    "`key, step_key = jax.random.split(key)` in the training loop. Where one fixed sample is "
    "meant, ignore this."
)


@rule("repeated-noise", severity=Severity.ERROR, needs=("training",), worse=0.1, errors=4.0)
def repeated_noise(training: ShortTraining, limits: Limits) -> Iterator[Hit]:
    found = training.repeated_noise
    if not found:
        return
    first = found[0]
    tried = first.trial
    yield Hit(
        message=f"{_what(found)}{_trial(tried)}",
        remedy=REMEDY,
        evidence={"draws": len(found), **({} if tried is None else _evidence(tried, limits))},
        layer=first.layer,
        source=first.key or first.source,
        severity=_severity(tried, limits),
    )


def _what(found: Sequence[RepeatedNoise]) -> str:
    places = [f"{each.source.file}:{each.source.line}" for each in found if each.source is not None]
    lines = f" (drawn at {', '.join(dict.fromkeys(places))})" if places else ""
    made = "a key that is made of a number" if found[0].key is not None else "a key that is closed over"
    into = f" They go into `{found[0].layer}`." if found[0].layer is not None else ""
    shapes = dict.fromkeys(str(each.shape) for each in found)
    return (
        f"Random numbers for each example, of shape {' and '.join(shapes)}, come from {made}: they are the "
        f"same at every step{lines}.{into}"
    )


def _trial(tried: RepeatedNoiseTrial | None) -> str:
    if tried is None:
        return ""
    return (
        f" {tried.steps} steps take the loss to {number(tried.seen)} with this noise. On noise that they "
        f"have not seen it is {number(tried.end)}, and {number(tried.end_renewed)} after as many steps with "
        f"new noise at each of them; before, it was {number(tried.start)}."
    )


def _severity(tried: RepeatedNoiseTrial | None, limits: Limits) -> Severity:
    if tried is None:
        return Severity.WARNING
    lost, gained = tried.end - tried.end_renewed, tried.start - tried.end_renewed
    if not math.isfinite(tried.end_renewed) or lost <= limits["errors"] * tried.error:
        return Severity.NOTE
    diverged = not math.isfinite(tried.end)
    return (
        Severity.ERROR if gained > 0 and (diverged or lost > limits["worse"] * gained) else Severity.WARNING
    )


def _evidence(tried: RepeatedNoiseTrial, limits: Limits) -> dict[str, float]:
    return {
        "loss_before": tried.start,
        "loss_after": tried.end,
        "loss_after_with_new_noise": tried.end_renewed,
        "standard_error": tried.error,
        "limit": limits["worse"],
    }
