"""Rounded to a smaller format, gradients turn away or vanish.

## What it does
With `--what-if`, reports layers whose gradient points elsewhere when every value of the program, and every δ
on its way back, is rounded to bfloat16, float16 or 8-bit floats; and a loss that is not finite any more.

## Why is this bad
A float16 has no number between 0 and 6e-8: δ that is smaller becomes 0, and the layers below do not learn.
Above 65,504 it is infinite. A bfloat16 has the range of float32, and three digits: differences of large
numbers are lost.

## How it is measured
The first batch is run once as it is, and once with each floating result rounded, and with each cotangent
rounded; products of matrices add up in the dtype of the program and round once, as hardware for these
formats does. `fp8` rounds operands of products to e4m3 and the cotangents of their results to e5m2, each
array with a scale of its own, and everything else to bfloat16. `mxfp8` rounds the operands of each product,
and of those of its derivatives, to e4m3 in blocks of 32 with a power of two as their scale, rounded down as
the specification has it; the same is run with it rounded up. What is compared is the direction (the cosine)
of each layer's gradient. Where δ falls to 0, the same is run with the loss multiplied by a power of two, the
largest that keeps the largest δ in range, and at most 32,768.

## Limits
`cosine = 0.9`: choice. In every layer of 18 healthy samples bfloat16 and float16 leave 0.99 and more; 8-bit
floats leave 0.96 and more in 16 of them, 0.84 and 0.74 in the others.

## Example
    gradscope check model.py --what-if f16

Use instead, where a loss scale mends it, in float16:

    def scaled(params, batch):
        return 2**15 * loss_fn(params, batch)

    gradients = jax.tree.map(lambda g: g.astype(jnp.float32) / 2**15, jax.grad(scaled)(params, batch))

or `jmp.DynamicLossScale`. Otherwise keep the layer that is named in float32:

    nn.LayerNorm(dtype=jnp.float32)

What to keep is tried where the cosine of a layer is below 0.99: kinds of operations one by one, then the
lines of the kind that brings most back, at most 16 trials of one step.

## What it does not say
That a training fails: noise of rounding is partly averaged away over steps. Sums that a device itself adds
up in a small format are not emulated, nor weights that are kept in it
(see [`invisible-update`](invisible-update.md)).

## Source
Micikevicius et al. 2018, *Mixed Precision Training*, arXiv:1710.03740; Micikevicius et al. 2022, *FP8
Formats for Deep Learning*, arXiv:2209.05433; Open Compute Project 2023, *Microscaling Formats Specification
v1.0*; Mishra et al. 2025, *Recipes for Pre-training LLMs with MXFP8*, arXiv:2506.08027 (scales rounded
up).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from gradscope.records import LayerInPrecision, Measurement, Precision, Severity
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import names_of, number

KINDS = {
    "products": "the products of matrices",
    "sums": "the sums",
    "functions": "the exponentials, roots and quotients",
    "others": "the additions and other operations",
}
NAMES = {"bf16": "bfloat16", "f16": "float16", "fp8": "8-bit floats", "mxfp8": "MXFP8"}


@rule("precision-loss", severity=Severity.WARNING, single_seed_suffices=True, cosine=0.9)
def precision_loss(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    found = measurement.precision
    if found is None or not math.isfinite(found.loss):
        return
    name = NAMES.get(found.format, found.format)
    if not math.isfinite(found.rounded_loss):
        yield Hit(
            message=f"Rounded to {name}, the loss is not finite; as it is, it is {number(found.loss)}."
            f"{_largest(found)}",
            remedy=_kept(found, limits["cosine"])
            or "Keep what overflows in float32: usually sums of squares, exponentials and logits. "
            "Scale what the first layer takes in, if it is large.",
            evidence={"loss": found.loss, "format": found.format},
        )
        return
    turned = [each for each in found.layers if _lost(each.cosine, each, limits["cosine"])]
    if turned:
        yield _turned(found, turned, name, limits["cosine"])


def _lost(cosine: float | None, layer: LayerInPrecision, limit: float) -> bool:
    """A gradient of exactly 0 has no direction; that it becomes 0 is seen at its δ."""
    return bool(layer.delta_underflow) if cosine is None else cosine < limit


def _turned(found: Precision, turned: list[LayerInPrecision], name: str, limit: float) -> Hit:
    worst = min(turned, key=lambda each: -1.0 if each.cosine is None else each.cosine)
    text = f"Rounded to {name}, the gradient of {names_of([each.layer for each in turned])} is another one: "
    text += (
        f"that of `{worst.layer}` is 0."
        if worst.cosine is None
        else f"the cosine is {number(worst.cosine)} at `{worst.layer}` (limit {number(limit)})."
    )
    if worst.delta_underflow:
        text += f" {number(100 * worst.delta_underflow)}% of the elements of its δ fall to 0."
    mended = found.scale is not None and all(
        each.cosine_scaled is not None and each.cosine_scaled >= limit for each in turned
    )
    if mended:
        lowest = min(each.cosine_scaled or 0.0 for each in turned)
        text += f" With the loss multiplied by {found.scale:g} it is {number(lowest)} and more."
    up = all(each.cosine_up is not None and each.cosine_up >= limit for each in turned)
    if up:
        lowest = min(each.cosine_up or 0.0 for each in turned)
        text += (
            " Its scales were rounded down, as the specification has them, which clamps the largest elements "
            f"of some blocks; rounded up, the cosine is {number(lowest)} and more."
        )
    kept = _kept(found, limit)
    names = names_of([each.layer for each in turned])
    remedy = kept or f"Keep {names} in float32."
    if up:
        remedy = (
            f"Round the scales of blocks up, where your library gives a choice, or keep {names} in float32."
        )
    if mended:
        by = f"{found.scale:g}"
        remedy = f"Multiply the loss by {by} and divide the gradients by it, or use a dynamic loss scale."
    return Hit(
        message=text,
        remedy=remedy,
        evidence={
            "cosine": worst.cosine if worst.cosine is not None else 0.0,
            "layers": len(turned),
            "format": found.format,
            "limit": limit,
        },
        layer=worst.layer,
        layers=tuple(each.layer for each in turned),
    )


def _kept(found: Precision, limit: float) -> str:
    """What was tried, and does: a line, else a kind."""
    for trial in (found.best_line, found.best_kind):
        if trial is not None and trial.cosine >= limit:
            place = "" if trial.source is None else f" at {trial.source}"
            return (
                f"Keep {KINDS.get(trial.kind, trial.kind)}{place} in float32{_beside(found)}: tried, the "
                f"lowest cosine of a layer is {number(trial.cosine)} then."
            )
    return ""


def _beside(found: Precision) -> str:
    """What else was done in those trials."""
    said = []
    if found.cosine_scaled is not None:
        said.append(f"the loss multiplied by {found.scale:g}")
    if found.cosine_up is not None:
        said.append("scales of blocks rounded up")
    return f", with {' and '.join(said)}" if said else ""


def _largest(found: Precision) -> str:
    over = next((each for each in found.layers if each.value_overflow), None)
    if over is None:
        return ""
    share = number(100 * (over.value_overflow or 0.0))
    return f" {share}% of the outputs of `{over.layer}` are too large for it."
