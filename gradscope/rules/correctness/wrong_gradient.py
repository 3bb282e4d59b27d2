"""The gradient that backpropagation computes is not the gradient of the loss.

## What it does
Reports each custom derivative rule (`jax.custom_vjp`, `jax.custom_jvp`) that is wrong, with the parameters
whose gradients it makes wrong; wrong gradients without such a rule; and a forward mode that disagrees with
the reverse mode. Every `gradscope check` checks the custom derivative rules of your file, and reports those
that are off by 5 % and more; the rest takes `gradscope verify` or `gradscope check --verify`.

## Why is this bad
The optimizer does not follow the gradient of the loss. With a wrong factor or a missing term in one rule in
the middle of a model the loss may still fall, more slowly and not as far, which looks like a bad learning
rate or a bad architecture. No error is raised.

## How it is measured
For each parameter leaf, along random directions within that leaf: the derivative by backpropagation is
compared with central differences at several step sizes, which have their own estimate of the error from
truncation, rounding and kinks, in float64 where the loss can be traced so. A gradient is *wrong* if it
differs by more than three times that estimate at every step size that could show it, in several directions,
at the parameters and at a nearby point. Each custom derivative rule is checked by itself at its operands in
the program. The page on `verify` has the details.

## Limits
- `relative_error = 0.0001`: a gradient or rule with a smaller error is not reported. Rules with a rounded
  constant or a truncated iteration have errors of 1e-5 and train as well; a forgotten factor is an error of
  0.1 and more. `torch.autograd.gradcheck` allows 1e-3 in float64, where differences resolve 1e-9.

## Example
    @jax.custom_vjp
    def swish(x):
        return x * jax.nn.sigmoid(x)

    def forward(x):
        return swish(x), x

    def backward(x, g):
        return (g * jax.nn.sigmoid(x),)             # a term is missing

    swish.defvjp(forward, backward)

Use instead the whole derivative, or no rule at all:

    def backward(x, g):
        s = jax.nn.sigmoid(x)
        return (g * (s + x * s * (1 - s)),)

## What it does not say
That the loss is the one you want. A straight-through estimator, a gradient reversal and a `stop_gradient`
give another gradient on purpose: they are notes of `unverifiable-gradient`. A rule that is wrong only for
values that do not occur in this batch is not found.

## Source
Ridders 1982, *Accurate computation of F'(x) and F'(x)F''(x)*, Advances in Engineering Software 4
(extrapolation with its error); Moré and Wild 2011, *Estimating Computational Noise*, SIAM J. Sci. Comput.
33 (the error from rounding).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gradscope.records import GradientCheck, Number, RuleCheck, Severity, Verdict, Verification
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of, number

BY_RULE = "custom-rule"


@rule("wrong-gradient", severity=Severity.ERROR, needs=("gradients",), relative_error=1e-4)
def wrong_gradient(verified: Verification, limits: Limits) -> Iterator[Hit]:
    least = limits["relative_error"]
    wrong = [c for c in verified.leaves if c.verdict is Verdict.WRONG and c.relative_error >= least]
    rules = [r for r in verified.custom_rules if r.verdict is Verdict.WRONG and not r.relative_error < least]
    blamed = [check for check in wrong if rules and check.cause == BY_RULE]
    for found in _by_function(rules):
        affected = [c for c in blamed if c.source == found[0].source]
        # Where several rules are wrong, a leaf names the first of them.
        yield _of_rule(found, affected or blamed)
    rest = [check for check in wrong if check not in blamed]
    if rest:
        yield _of_leaves(rest)
    yield from _of_elements(verified)
    yield from _of_modes(verified)


def _by_function(rules: Sequence[RuleCheck]) -> list[list[RuleCheck]]:
    groups: dict[tuple[str, str], list[RuleCheck]] = {}
    for check in rules:
        groups.setdefault((check.function, str(check.source)), []).append(check)
    return list(groups.values())


def _of_rule(found: Sequence[RuleCheck], affected: Sequence[GradientCheck]) -> Hit:
    worst = max(found, key=lambda r: r.relative_error)
    says = "; ".join(dict.fromkeys(check.reason for check in found))
    message = f"The {worst.kind} of `{worst.function}` is wrong: {says}."
    if affected:
        noun = "gradient" if len(affected) == 1 else "gradients"
        message += f" It makes the {noun} of {names_of([c.parameter for c in affected])} wrong."
    evidence: dict[str, Number] = {
        "function": worst.function,
        "arguments": ", ".join(check.argument for check in found),
        "relative_error": worst.relative_error,
        "uncertainty": worst.uncertainty,
        "uses": worst.uses,
        "parameters": len(affected),
    }
    if worst.ratio is not None:
        evidence["ratio"] = worst.ratio
    layers = tuple(dict.fromkeys(check.layer for check in affected))
    return Hit(
        message=message,
        remedy=_cure(worst),
        evidence=evidence,
        layer=layers[-1] if layers else None,
        parameter=affected[0].parameter if len(affected) == 1 else None,
        source=worst.source,
        layers=layers,
    )


def _cure(worst: RuleCheck) -> str:
    if not worst.argument:
        return f"Let the forward function of the rule return what `{worst.function}` itself returns."
    part = "tangents" if worst.kind == "custom_jvp" else f"cotangent of `{worst.argument}`"
    if worst.ratio and f"{worst.ratio:.4g}" == "-1":
        return f"Change the sign of the {part} in the rule of `{worst.function}`."
    if worst.ratio and f"{abs(worst.ratio):.4g}" != "1":
        if abs(worst.ratio) < 1:
            return f"Multiply the {part} in the rule of `{worst.function}` by {1 / worst.ratio:.4g}."
        return f"Divide the {part} in the rule of `{worst.function}` by {worst.ratio:.4g}."
    return (
        f"Correct the {part} in the rule of `{worst.function}`, or delete the rule: JAX differentiates the "
        "function itself."
    )


def _of_leaves(wrong: Sequence[GradientCheck]) -> Hit:
    """One finding: the fault is between the leaf nearest to the loss and the loss."""
    nearest = wrong[-1]
    message = (
        f"Backpropagation gives a wrong gradient for `{nearest.parameter}`: along a random direction "
        f"{number(nearest.analytic)}, while finite differences give {number(nearest.numeric)} ± "
        f"{number(nearest.uncertainty)} ({nearest.reason})."
    )
    others = [check.parameter for check in wrong[:-1]]
    if others:
        message += f" The gradient of {names_of(others)} is wrong, too."
    evidence: dict[str, Number] = {
        "analytic": nearest.analytic,
        "numeric": nearest.numeric,
        "uncertainty": nearest.uncertainty,
        "relative_error": nearest.relative_error,
        "directions": nearest.directions,
        "parameters": len(wrong),
    }
    if nearest.ratio is not None:
        evidence["ratio"] = nearest.ratio
    layers = tuple(dict.fromkeys(check.layer for check in wrong))
    return Hit(
        message=message,
        remedy=f"Look between `{nearest.layer}` and the loss for an operation with its own derivative: a "
        "custom derivative rule in a library, a kernel, a callback.",
        evidence=evidence,
        layer=nearest.layer,
        parameter=nearest.parameter if len(wrong) == 1 else None,
        source=nearest.source,
        layers=layers,
    )


def _of_elements(verified: Verification) -> Iterator[Hit]:
    """Wrong elements of a leaf whose gradient is right along random directions."""
    wrong = {c.parameter for c in verified.leaves if c.verdict is Verdict.WRONG}
    for check in verified.leaves:
        tried = [e for e in verified.elements if e.parameter == check.parameter]
        bad = [e for e in tried if e.verdict is Verdict.WRONG]
        if bad and check.parameter not in wrong:
            place = "".join(f"[{i}]" for i in bad[0].index)
            yield Hit(
                message=f"{len(bad)} of {count(len(tried), 'element')} of `{check.parameter}` have a wrong "
                f"gradient: at {place} it is {number(bad[0].analytic)}, while finite differences give "
                f"{number(bad[0].numeric)} ± {number(bad[0].uncertainty)}.",
                remedy="Look for an operation that treats them differently: an index, a mask, a scatter.",
                evidence={"elements": len(bad), "tried": len(tried)},
                layer=check.layer,
                parameter=check.parameter,
                source=check.source,
            )


def _of_modes(verified: Verification) -> Iterator[Hit]:
    mode = verified.transposition
    if mode is not None and mode.verdict is Verdict.WRONG:
        yield Hit(
            message=f"Forward mode gives the loss a derivative of {number(mode.forward)} along a random "
            f"direction, reverse mode {number(mode.reverse)}; rounding explains a difference of "
            f"{number(mode.uncertainty)}.",
            remedy="Look for an operation with its own transpose: `custom_transpose`, `linear_call`, ...",
            evidence={
                "forward": mode.forward,
                "reverse": mode.reverse,
                "uncertainty": mode.uncertainty,
            },
        )
