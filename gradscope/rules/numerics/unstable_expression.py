"""An expression that is finite in this run, but may become NaN or infinite later.

## What it does
Reads the program for operations that are not finite at some point (a log, root, division or power at 0, an
`exp` that overflows, an arccos at ±1), proves what it can about the range of their operands, and measures how
near the others come in this run. There is one finding per line of your code, and never an error.

## Why is this bad
Such a loss can train for hours and be NaN from one step to the next, when a logit has grown or two points
coincide. Found before, it is one line to rewrite.

## How it is measured
By interval analysis: an epsilon, a `clip`, a square, a maximum that is subtracted, a `where` around the
operand prove an operation safe; so do `jax.nn`, `jax.scipy` and Optax. Any other operation that depends on
the parameters or the batch, and on which the loss depends (for a derivative: with a gradient), is measured in
the flow pass: the smallest operand that is not 0 itself, the largest exponent. An operand at the singular
point itself is not counted: in a finite run it is masked, otherwise `non-finite` reports it.

*Reached* is the share of the way to the singular point: for an `exp` the largest exponent over the one that
overflows (88.7 in float32); for what goes to 0, log(operand) over log(the dtype's smallest normal number), in
powers of ten; near 1 the same with half of its eps, the distance of neighboring numbers below 1.

## Limits
`half = 0.5`: an exponent twice as large, as of the squared value, would overflow. A note, or a warning where
a safe spelling exists. `close = 0.9`: an exponent 11 % larger would overflow; it is a warning in any case. An
operand that is a difference of terms warns where it is smaller than 2 eps times its largest element (for a
sum of squared differences 4 eps²): rounding alone, eps for each term, can make it 0.

Six expressions are a note even if their operands are far away, since a safe spelling costs nothing: log of
softmax, log of sigmoid, log of 1 - tanh², softmax and logsumexp by hand without the maximum subtracted, and a
`where` that guards the value of an operation but not its gradient.

## Example
    loss = -jnp.mean(jnp.log(jax.nn.softmax(logits))[rows, labels])   # NaN once logits are 88 apart

Use instead:

    loss = -jnp.mean(jax.nn.log_softmax(logits)[rows, labels])

## What it does not say
That the run is wrong: every finding is about a possible later run. Operations inside `while_loop`, in custom
derivative rules and in branches that are not taken are not analyzed. A sum of positive terms that is 0 only
for a special input (a row without a valid element) is found only if the batch has it.

## Source
Goldberg 1991, "What every computer scientist should know about floating-point arithmetic"; Blanchard, Higham
and Higham 2021, "Accurately computing the log-sum-exp and softmax functions"; JAX FAQ, "Gradients contain NaN
where using where". Limits: the largest and smallest normal numbers and the eps of IEEE 754 formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import Hazard, HazardForm, Measurement, Severity, Source
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.numerics.hazard_texts import BOTH_LABELS, how_near, words_of
from gradscope.rules.words import count


@rule("unstable-expression", severity=Severity.WARNING, symptom_of=("non-finite",), half=0.5, close=0.9)
def unstable_expression(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    lines: dict[Source, list[tuple[Severity, Hazard]]] = {}
    for hazard in measurement.hazards:
        severity = _severity(hazard, limits)
        if severity is not None and hazard.source is not None:
            lines.setdefault(hazard.source, []).append((severity, hazard))
    for found in lines.values():
        severity, worst = min(found, key=lambda each: (each[0].rank, -each[1].reached))
        yield _hit(severity, worst, [each for _, each in found], limits)


def _severity(hazard: Hazard, limits: Limits) -> Severity | None:
    """`None` where there is no finding."""
    structural = words_of(hazard).structural
    if hazard.distance <= hazard.rounding or hazard.reached >= limits["close"]:
        return Severity.WARNING
    if structural and hazard.on_it:
        return Severity.WARNING
    if hazard.reached >= limits["half"]:
        return Severity.WARNING if structural else Severity.NOTE
    return Severity.NOTE if structural else None


def _hit(severity: Severity, hazard: Hazard, at_line: Sequence[Hazard], limits: Limits) -> Hit:
    words = words_of(hazard)
    on_it = ""
    if hazard.on_it == 1:
        on_it = " 1 element is at that point already, and is masked in this run."
    elif hazard.on_it:
        on_it = f" {count(hazard.on_it, 'element')} are at that point already, and are masked in this run."
    return Hit(
        message=f"{words.what} {how_near(hazard)}. {words.fails}{on_it}",
        remedy=BOTH_LABELS if _both_labels(at_line) else words.remedy,
        evidence={
            "kind": hazard.kind,
            "nearest": hazard.nearest,
            "danger": hazard.danger,
            "reached": hazard.reached,
            "limit": limits["half"],
            "at_this_line": len(at_line),
        },
        layer=hazard.layer,
        source=hazard.source,
        severity=severity,
    )


def _both_labels(at_line: Sequence[Hazard]) -> bool:
    """Log-probabilities of both labels of a binary cross-entropy that is written by hand."""
    forms = {each.form for each in at_line if each.kind == "log-of-sigmoid"}
    return {HazardForm.WHOLE, HazardForm.COMPLEMENT} <= forms
