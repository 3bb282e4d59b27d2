"""A test for equality takes a branch at these very parameters, and its derivative is not the function's.

## What it does
Reports a `where` or a mask whose test is an equality (`p == 1`) on a value that is differentiated, where the
test holds at the parameters and nowhere beside them, and backpropagation, which sees the branch that was
taken, gives another derivative than the loss has across the point.

## Why is this bad
The loss is right there and its gradient is not: the branch `0` in `where(p == 0, 0, p * log(x))` has the
derivative 0, the function has log(x). A parameter that starts at 0 or 1 gets a wrong first step, or none.

## How it is measured
Tests of your own on values that depend on a parameter with a gradient are read from the program; most have
none. Where one holds, the loss runs at 4 points along each of 3 directions through those parameters, up to
1 % of their size away. There is a finding only if no element compares equal at any of these points, and along
most directions the difference quotient is off backpropagation by a fifth or more, and by twice what the
slopes on both sides differ (at a kink it is half of that at most).

## Limits
None to set: the numbers above are those of a comparison that noise, a kink and curvature do not pass.

## Example
    log_p = jnp.where(a == 1.0, 0.0, (a - 1) * jnp.log(x))     # at a = 1 the gradient of a is 0, not log(x)

Use instead:

    safe = jnp.where(x > 0, x, 1.0)                            # guard what fails, not the parameter
    log_p = (a - 1) * jnp.log(safe)

## What it does not say
A test that still holds beside the point (units of a ReLU at 0, padding, labels) is healthy, and so is a
branch with the derivative of the function. A wrong derivative that this run does not reach is not seen:
`gradscope verify` compares all parameters with differences.

## Source
Hückelheim et al. 2023, *Understanding Automatic Differentiation Pitfalls*, arXiv:2305.07546 (branches that
hold at a point).
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import IsolatedBranch, Measurement, Severity, Source
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of, number

SIGNS = {"eq": "==", "ne": "!="}


@rule("isolated-branch", severity=Severity.WARNING, symptom_of=("non-finite",), single_seed_suffices=True)
def isolated_branch(measurement: Measurement, limits: Limits) -> Iterator[Hit]:
    lines: dict[tuple[str, Source | None], list[IsolatedBranch]] = {}
    for branch in measurement.isolated_branches:
        lines.setdefault((branch.op, branch.source), []).append(branch)
    for found in lines.values():
        yield _hit(measurement, found)


def _hit(measurement: Measurement, found: list[IsolatedBranch]) -> Hit:
    """Of all tests at one line, as of a function that is called for several parameters."""
    branch = max(found, key=lambda each: abs(each.backprop - each.differences))
    equal, size = sum(each.equal for each in found), sum(each.size for each in found)
    names = list(dict.fromkeys(name for each in found for name in each.parameters))
    owner = next((leaf.layer for leaf in measurement.parameters if leaf.name in names), None)
    return Hit(
        message=(
            f"The test `{SIGNS[branch.op]}` holds at these very parameters: {count(equal, 'element')} of "
            f"{size} {'compares' if equal == 1 else 'compare'} equal here, and none where {names_of(names)} "
            f"{'is' if len(names) == 1 else 'are'} moved by up to {branch.step:.0%}. The branch has another "
            "derivative than the loss around it: along a direction backpropagation gives "
            f"{number(branch.backprop)}, and differences across the point {number(branch.differences)}."
        ),
        remedy=(
            "Use the general expression at this point, too: guard the operand that fails (`jnp.where(x > 0, "
            "x, 1.0)`) and not the value that is learned; or give the function its derivative with "
            "`jax.custom_jvp`."
        ),
        evidence={
            "equal": equal,
            "size": size,
            "backprop": branch.backprop,
            "differences": branch.differences,
            "step": branch.step,
        },
        layer=owner,
        parameter=names[0] if len(names) == 1 else None,
        source=branch.source,
    )
