"""The curvature of the loss, as every format for people words it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from gradscope.records import CriticalStep, Curvature, Eigenvalue, GaussNewton, OwnRate
from gradscope.report.shared import units

SYMMETRIC = 1e-3
ADAM = (
    "What counts for Adam is the Hessian after it is scaled as the optimizer scales the gradient: its "
    "largest eigenvalue settles near 38 / rate at a first decay of 0.9 (Cohen et al. 2022, "
    "arXiv:2207.14484). That is not measured here."
)


def summary(found: Curvature) -> list[str]:
    """Sentences: the spectrum, the rates, what was tried along lines."""
    return [*_spectrum(found), *_rates(found), *_tried(found)]


def brief(found: Curvature) -> Iterator[str]:
    """A sentence each of the spectrum, the rates and the Gauss-Newton step."""
    yield from islice(_spectrum(found), 1)
    yield from islice(_rates(found), 1)
    step = found.gauss_newton
    if step is not None:
        fall, of_gradient = -step.change, -step.gradient_change
        yield (
            f"The Gauss-Newton step of {units.counted(step.products, 'product')} "
            f"{'lowers' if fall >= 0 else 'raises'} the loss by {units.number(abs(fall))}, the best step "
            f"along the gradient {'lowers' if of_gradient >= 0 else 'raises'} it by "
            f"{units.number(abs(of_gradient))}."
        )


def _found(value: Eigenvalue, bound: str) -> str:
    """`6.52 ± 0.01`; a bound where it did not converge, which it is whatever the residual."""
    if value.converged:
        return f"{units.number(value.value)} ± {value.error:.2g}"
    return f"{bound} {units.number(value.value)}, not found closely (residual {value.error:.2g})"


def _spectrum(found: Curvature) -> Iterator[str]:
    size = units.counted(found.parameters, "parameter")
    if found.zero:
        yield (
            f"The Hessian over {size} is zero: its product with a random vector is exactly that. The loss "
            "is linear in its parameters here, or piecewise linear, and its kinks are in no second "
            "derivative: 2 / the largest eigenvalue sets no limit to the learning rate."
        )
    if found.largest is not None:
        yield f"The largest eigenvalue of the Hessian over {size} is {_found(found.largest, 'at least')}."
    if found.smallest is not None:
        lost = found.smallest.converged and abs(found.smallest.value) <= found.smallest.error
        near = " It is not to be told from zero." if lost else ""
        yield f"The smallest is {_found(found.smallest, 'at most')}.{near}"
    if found.trace is not None and not found.zero:
        if found.trace_error is None:
            yield f"Its trace is about {units.number(found.trace)}, by a single random vector."
        else:
            probes = units.counted(found.probes, "random vector")
            yield (
                f"Its trace is {units.number(found.trace)} ± {found.trace_error:.2g} (standard error of "
                f"{probes})."
            )
    middle = next((each for each in found.density if each.low < 0 < each.high), None)
    if middle is not None and not found.zero:
        yield (
            f"About {middle.share:.0%} of all eigenvalues lie within ± {units.number(middle.high)} of zero."
        )
    if found.asymmetry is not None and found.asymmetry > SYMMETRIC:
        yield (
            f"The matrix is not quite symmetric: {found.asymmetry:.2g} of it is rounding, and so much of "
            "each number."
        )
    if found.left_out:
        held = "" if found.own is None else ", or the optimizer holds them"
        left = units.counted(found.left_out, "parameter")
        yield f"{left} are left out: the loss does not depend on them{held}."


def _rates(found: Curvature) -> Iterator[str]:
    if found.stable_rate is not None and found.largest is not None:
        least = "" if found.largest.converged else "at most "
        yield (
            "Plain gradient descent is stable up to a rate of 2 / the largest eigenvalue, "
            f"{least}{units.number(found.stable_rate)}, in the quadratic model."
        )
    if found.own is not None:
        yield _own(found, found.own)
    if found.critical is not None:
        yield _critical(found.critical, found.loss)


def _own(found: Curvature, own: OwnRate) -> str:
    if own.transform == "fixed":
        rate = "" if own.rate is None else f" ({units.number(own.rate)})"
        return (
            f"For your optimizer that is no limit: its first steps have one size{rate} whatever the "
            f"gradient, as Adam's. {ADAM}"
        )
    if own.stable is None or found.largest is None:
        return f"Where your optimizer stands to that is not known: {own.reason}." if own.reason else ""
    momentum = f" with momentum {units.number(own.momentum)}" if own.momentum else ""
    head = (
        f"Your optimizer moves by {units.number(own.rate)} times the gradient{momentum}: it is stable up to "
        f"a curvature of {units.number(own.stable)}"
    )
    excess = found.excess or 0.0
    if excess > 1:
        return (
            f"{head}, and the largest eigenvalue is {_least(found)}{units.number(excess)} times that. "
            "Training with a whole batch mostly hovers at this edge of stability; steps beyond it grow "
            "until they come to where the loss is flatter, or diverge."
        )
    if excess <= 0:
        return f"{head}, and the loss bends down in all directions that were found."
    return f"{head}, and the largest eigenvalue is {_least(found)}{units.share(excess)} of that."


def _least(found: Curvature) -> str:
    return "" if found.largest is None or found.largest.converged else "at least "


def _critical(step: CriticalStep, loss: float) -> str:
    head = (
        f"One update of {step.optimizer} {'raises' if step.change > 0 else 'lowers'} the loss by "
        f"{units.number(abs(step.change))}, from {units.number(loss)}"
    )
    if step.above is None:
        return f"{head}; it is not above its start either at {units.number(step.below)} times that update."
    if step.below == 0:
        return (
            f"{head}; it is above its start at every part of that update down to {units.number(step.above)}."
        )
    return (
        f"{head}; it is back where it was between {units.number(step.below)} and {units.number(step.above)} "
        "times that update (the critical step)."
    )


def _tried(found: Curvature) -> Iterator[str]:
    step = found.gradient_step
    if step is not None and step.rate is not None:
        yield (
            f"Along the gradient the curvature is {units.number(step.curvature)}: by the quadratic model "
            f"the step at a rate of {units.number(step.rate)} lowers the loss by "
            f"{units.number(step.predicted)}, and it was measured to {_lowers(step.measured)}."
        )
    elif step is not None:
        along = units.number(step.curvature)
        yield f"Along the gradient the loss does not bend up: its curvature there is {along}."
    if found.gauss_newton is not None:
        yield from _natural(found, found.gauss_newton)
    yield from _point(found)


def _natural(found: Curvature, step: GaussNewton) -> Iterator[str]:
    place = "" if step.source is None else f" (its outputs: {step.source})"
    whole = "" if found.largest is None else f"; that of the Hessian is {_found(found.largest, 'at least')}"
    yield (
        "The largest eigenvalue of the Gauss-Newton matrix, which leaves out what the network itself "
        f"bends{place}, is {_found(step.largest, 'at least')}{whole}."
    )
    damped = f"a damping of {units.number(step.damping)}" if step.damping else "no damping"
    fall, of_gradient = -step.change, -step.gradient_change
    times = ""
    if min(fall, of_gradient) > found.noise:
        times = f", {units.number(fall / of_gradient)} times as much"
    yield (
        f"The best of {units.counted(step.products + step.tries, 'step')} along the gradient, at a rate of "
        f"{units.number(step.gradient_rate)}, {'lowers' if of_gradient >= 0 else 'raises'} the loss by "
        f"{units.number(abs(of_gradient))}, as measured. The Gauss-Newton step, by "
        f"{units.counted(step.products, 'product')} with that matrix and at {damped} (the best of "
        f"{step.tries}), {'lowers' if fall >= 0 else 'raises'} it by {units.number(abs(fall))}{times}."
    )


def _lowers(fall: float | None) -> str:
    if fall is None:
        return "be unknown"
    return f"lower it by {units.number(fall)}" if fall >= 0 else f"raise it by {units.number(-fall)}"


def _point(found: Curvature) -> Iterator[str]:
    """A minimum, a saddle, or neither."""
    if found.smallest is None:
        return
    negative = found.negative
    deepest = None if negative is None else negative.deepest(found.noise)
    if negative is not None and deepest is not None:
        distance, fall = deepest
        layer = (
            ""
            if negative.layer is None
            else f" The largest part of it ({units.share(negative.share)}) lies in {negative.layer}."
        )
        yield (
            f"The loss bends down along the direction of the smallest eigenvalue: {units.number(distance)} "
            f"away the mean of both sides lies {units.number(fall)} below it, as measured "
            f"({units.number(-negative.curvature * distance**2 / 2)} by the quadratic model).{layer}"
        )
    elif negative is not None:
        yield (
            "The smallest eigenvalue is negative, but the loss was not seen to fall on the mean of both "
            "sides along its direction."
        )
    else:
        yield "No direction was found in which the loss bends down."
    if not found.stationary:
        yield (
            f"The gradient is not zero (norm {units.number(found.gradient_norm)}): this is no stationary "
            "point, neither a minimum nor a saddle."
        )
    elif deepest is not None:
        yield "The gradient is zero but for rounding: this is a saddle point or a maximum, no minimum."
    elif negative is None and found.smallest.converged and found.smallest.value > found.smallest.error:
        yield "The gradient is zero but for rounding, and the loss bends up all around: a minimum."
    else:
        yield (
            "The gradient is zero but for rounding: a minimum, as far as was seen; directions without "
            "curvature are not decided by it."
        )
