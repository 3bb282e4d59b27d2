"""Backpropagation gives another gradient than the loss has.

## What it does
Reports each custom derivative rule (`jax.custom_vjp`, `jax.custom_jvp`) that is wrong, with the parameters
whose gradients it spoils; gradients that are wrong where no rule is to blame; and a forward mode that
disagrees with the reverse mode. It judges what `gradscope verify` or `gradscope check --verify` measured,
and is silent otherwise.

## Why is this bad
The optimizer goes another way than down. A factor or a missing term in one rule in the middle of a model
lets the loss fall all the same, more slowly and not as far, which looks like a bad learning rate or a bad
architecture. Nothing raises an error.

## How it is measured
For each parameter leaf random directions inside that leaf: the derivative by backpropagation against
central differences at several steps, with their own estimate of what truncation, rounding and kinks can do
to them, in float64 where the loss can be traced so. *Wrong* takes disagreement beyond three times that
estimate at every step that could show it, in several directions, at the parameters and again beside them.
Each custom rule is checked by itself at the values that it gets in the program. The page on `verify` has
the details.

## Limits
- `relative_error = 0.0001`: a gradient or rule that is off by less is not reported. Rules that hold a
  rounded constant or stop an iteration early are off by 1e-5 and train as well; a forgotten factor is off
  by 0.1 and more. `torch.autograd.gradcheck` allows 1e-3 in float64, where differences see 1e-9.

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
values that this batch does not hold is not found.

## Source
Ridders 1982, *Accurate computation of F'(x) and F'(x)F''(x)*, Advances in Engineering Software 4
(extrapolation with its error); Moré and Wild 2011, *Estimating Computational Noise*, SIAM J. Sci. Comput.
33 (what rounding leaves).
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
        spoiled = [c for c in blamed if c.source == found[0].source]
        # Where several rules are wrong a leaf names the first: it stands for all of them.
        yield _of_rule(found, spoiled or blamed)
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


def _of_rule(found: Sequence[RuleCheck], spoiled: Sequence[GradientCheck]) -> Hit:
    worst = max(found, key=lambda r: r.relative_error)
    says = "; ".join(dict.fromkeys(check.reason for check in found))
    message = f"The {worst.kind} of `{worst.function}` is wrong: {says}."
    if spoiled:
        noun = "gradient" if len(spoiled) == 1 else "gradients"
        message += f" It makes the {noun} of {names_of([c.parameter for c in spoiled])} wrong."
    evidence: dict[str, Number] = {
        "function": worst.function,
        "arguments": ", ".join(check.argument for check in found),
        "relative_error": worst.relative_error,
        "uncertainty": worst.uncertainty,
        "uses": worst.uses,
        "parameters": len(spoiled),
    }
    if worst.ratio is not None:
        evidence["ratio"] = worst.ratio
    layers = tuple(dict.fromkeys(check.layer for check in spoiled))
    return Hit(
        message=message,
        remedy=_cure(worst),
        evidence=evidence,
        layer=layers[-1] if layers else None,
        parameter=spoiled[0].parameter if len(spoiled) == 1 else None,
        source=worst.source,
        layers=layers,
    )


def _cure(worst: RuleCheck) -> str:
    if not worst.argument:
        return f"Let the forward half of the rule return what `{worst.function}` itself returns."
    part = "tangents" if worst.kind == "custom_jvp" else f"cotangent of `{worst.argument}`"
    if worst.ratio and f"{worst.ratio:.4g}" == "-1":
        return f"Change the sign of the {part} in the rule of `{worst.function}`."
    if worst.ratio:
        how = ("Multiply", 1 / worst.ratio) if abs(worst.ratio) < 1 else ("Divide", worst.ratio)
        return f"{how[0]} the {part} in the rule of `{worst.function}` by {how[1]:.4g}."
    return (
        f"Correct the {part} in the rule of `{worst.function}`, or delete the rule: JAX differentiates the "
        "function itself."
    )


def _of_leaves(wrong: Sequence[GradientCheck]) -> Hit:
    """One finding: what is wrong stands between the leaf nearest to the loss and the loss."""
    nearest = wrong[-1]
    message = (
        f"Backpropagation gives `{nearest.parameter}` another gradient than the loss has: along a random "
        f"direction {number(nearest.analytic)}, where differences give {number(nearest.numeric)} ± "
        f"{number(nearest.uncertainty)} ({nearest.reason})."
    )
    others = [check.parameter for check in wrong[:-1]]
    if others:
        message += f" So it does {names_of(others)}."
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
        remedy=f"Look between `{nearest.layer}` and the loss for an operation with a derivative of its own: "
        "a custom rule in a library, a kernel, a callback.",
        evidence=evidence,
        layer=nearest.layer,
        parameter=nearest.parameter if len(wrong) == 1 else None,
        source=nearest.source,
        layers=layers,
    )


def _of_elements(verified: Verification) -> Iterator[Hit]:
    """Elements that are wrong in a leaf that is right along random directions."""
    wrong = {c.parameter for c in verified.leaves if c.verdict is Verdict.WRONG}
    for check in verified.leaves:
        tried = [e for e in verified.elements if e.parameter == check.parameter]
        bad = [e for e in tried if e.verdict is Verdict.WRONG]
        if bad and check.parameter not in wrong:
            place = "".join(f"[{i}]" for i in bad[0].index)
            yield Hit(
                message=f"{len(bad)} of {count(len(tried), 'element')} of `{check.parameter}` have a wrong "
                f"gradient: at {place} it is {number(bad[0].analytic)}, and differences give "
                f"{number(bad[0].numeric)} ± {number(bad[0].uncertainty)}.",
                remedy="Look for an operation that treats these elements apart: an index, a mask, a scatter.",
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
            f"direction, reverse mode {number(mode.reverse)}: they may differ by {number(mode.uncertainty)}.",
            remedy="Look for an operation with a transposition of its own: `custom_transpose`, "
            "`linear_call`, a kernel.",
            evidence={
                "forward": mode.forward,
                "reverse": mode.reverse,
                "uncertainty": mode.uncertainty,
            },
        )
