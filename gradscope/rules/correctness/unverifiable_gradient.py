"""A gradient that finite differences can neither confirm nor refute.

## What it does
Names the parameters, and the custom rules, that `gradscope verify` or `gradscope check --verify` could not
judge, by reason: a `stop_gradient` or a custom derivative rule that changes the gradient on purpose, a loss
that gives another value each time, kinks too close together, a loss that changes in jumps, too low a
precision, a value that is not finite.

## Why is this bad
It need not be: the finding says that these gradients were not confirmed. Only a loss that is random without a
key is a warning: its value and its gradient may belong to different draws, and no run can be repeated.

## How it is measured
As for `wrong-gradient`. A gradient that disagrees is measured again with `stop_gradient` and custom
derivative rules removed from the program: if it then agrees with the differences, they are the reason. Two
evaluations at the same parameters reveal a random loss.

## Limits
None: the reason is measured, and the result for each parameter is in the table.

## Example
    noise = jax.pure_callback(lambda: np.random.normal(), shape)       # another number each time
    return jnp.mean((model(params, x + noise) - y) ** 2)

Use instead a key, which is held fixed while the gradient is verified:

    def loss_fn(params, batch, key):
        noise = jax.random.normal(key, x.shape)

## What it does not say
That something is wrong. A frozen part, a target network, a straight-through estimator, a gradient reversal
and a clipped gradient are all reported here, and all are healthy. Two-valued or quantized weights have no
derivative to compare with.

## Source
Bengio et al. 2013, arXiv:1308.3432 (straight-through estimators); Ganin et al. 2016, arXiv:1505.07818
(gradient reversal); Moré and Wild 2011, *Estimating Computational Noise* (what differences can see).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import GradientCheck, RuleCheck, Severity, Verdict, Verification
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import names_of

BY_RULE = "custom-rule"
RANDOM = "nondeterministic"
MEANT = "Nothing to do if this is intended: finite differences cannot confirm it."
REMEDY = {
    "stop-gradient": MEANT,
    "implicit-sample": MEANT,
    "stairs": "Nothing to do where the choice is meant to be hard. Differentiate a search (bisection) "
    "implicitly, with `jax.lax.custom_root`; make a rounding smooth.",
    RANDOM: "Draw random numbers from the key of `loss_fn(params, batch, key)`, not in a callback.",
    "noise": "Verify a copy that computes in float32 or float64: remove the casts from the model.",
    "chaotic": "Verify over fewer steps of the loop: there the same code is exact.",
    "kink": "Verify at another point: `--seed 1`, or another batch.",
    "jumps": "Nothing to do for quantized values; a smooth approximation of them can be verified.",
    "no-move": "Nothing to do for quantized values; a smooth approximation of them can be verified.",
    "unsettled": "Run `gradscope check`: it looks for a comparison that holds at this point only. Else "
    "verify at another point (`--seed 1`, another batch), and single elements (`--per-element 20`).",
    "non-finite": "Run `gradscope check` to find the origin of the first NaN or infinity.",
}


@rule("unverifiable-gradient", severity=Severity.WARNING, needs=("gradients",))
def unverifiable_gradient(verified: Verification, limits: Limits) -> Iterator[Hit]:
    unsure = [check for check in verified.leaves if check.verdict is Verdict.CANNOT_JUDGE]
    rules = [check for check in verified.custom_rules if check.verdict is Verdict.CANNOT_JUDGE]
    for found in _by_function(rules):
        yield _of_rule(found, [c for c in unsure if c.cause == BY_RULE and c.source == found[0].source])
    named = {str(check.source) for check in rules}
    groups: dict[tuple[str, str], list[GradientCheck]] = {}
    for check in unsure:
        if check.cause != BY_RULE or str(check.source) not in named:
            place = str(check.source) if check.cause in ("stop-gradient", "jumps", BY_RULE) else ""
            groups.setdefault((check.cause, place), []).append(check)
    for (cause, place), checks in groups.items():
        yield _of_leaves(cause, bool(place), checks)


def _by_function(rules: Sequence[RuleCheck]) -> list[list[RuleCheck]]:
    groups: dict[tuple[str, str], list[RuleCheck]] = {}
    for check in rules:
        groups.setdefault((check.function, str(check.source)), []).append(check)
    return list(groups.values())


def _of_rule(found: Sequence[RuleCheck], moved: Sequence[GradientCheck]) -> Hit:
    first = found[0]
    message = f"The {first.kind} of `{first.function}` cannot be judged: "
    message += "; ".join(dict.fromkeys(check.reason for check in found)) + "."
    if moved:
        message += f" It changes the gradient of {names_of([check.parameter for check in moved])}."
    return Hit(
        message=message,
        remedy=MEANT,
        evidence={"function": first.function, "parameters": len(moved)},
        layer=moved[-1].layer if moved else None,
        source=first.source,
        severity=Severity.NOTE,
    )


def _of_leaves(cause: str, placed: bool, checks: Sequence[GradientCheck]) -> Hit:
    names = [check.parameter for check in checks]
    layers = tuple(dict.fromkeys(check.layer for check in checks))
    return Hit(
        message=f"The gradient of {names_of(names)} cannot be judged: {checks[0].reason}.",
        remedy=REMEDY.get(cause, MEANT),
        evidence={"cause": cause, "parameters": len(checks)},
        layer=layers[0],
        parameter=names[0] if len(names) == 1 else None,
        source=checks[0].source if placed or len(layers) == 1 else None,
        severity=None if cause == RANDOM else Severity.NOTE,
        layers=layers,
    )
