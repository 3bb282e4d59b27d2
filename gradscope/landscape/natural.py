"""The Gauss-Newton matrix JᵀHJ, and what the step of the natural gradient brings.

J is the derivative of the outputs of the network, H the Hessian of the loss by these: without what the
network itself bends. Of softmax cross-entropy and of squared errors it is the Fisher matrix (Martens 2020).
Lanczos from the gradient g spans the space in which conjugate gradients look for (JᵀHJ + λ)⁻¹g, for every
damping λ at once (Golub and Van Loan, section 11.3); its last Ritz value is the largest eigenvalue beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from gradscope.landscape.lanczos import Floats, Lanczos
from gradscope.landscape.outputs import OutputSplit
from gradscope.landscape.pace import Pace
from gradscope.landscape.products import Products
from gradscope.landscape.spectrum import ROUNDED, is_found
from gradscope.records import Eigenvalue, GaussNewton

OUTPUT_STEPS = 16
"""Products that look for a direction of the outputs in which the loss bends down."""
BENDS_DOWN = 1e-4
"""Of the largest eigenvalue by the outputs: less is rounding."""
FEWEST_STEPS, MOST_STEPS = 3, 30
SHARE = 0.15
"""Of the time, for the products."""
SOLVED = 1e-6
"""Of the gradient: what the step leaves of it."""
DAMPINGS = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Of the largest eigenvalue; that with the lowest loss is told."""
SINGULAR = 1e-7
"""Of the largest eigenvalue: none that is smaller is divided by."""
FACTOR = 8.0
"""Between the first rates that are tried along the gradient."""


@dataclass(frozen=True)
class NetworkOutputs:
    """Where the network meets the loss, and the ends of the Hessian by what it hands over."""

    split: OutputSplit
    low: float
    high: float


def outputs_of(products: Products, draws: np.random.Generator) -> NetworkOutputs | str:
    """The first place behind the network at which no direction was found in which the loss bends down, or
    the reason why there is none."""
    if not products.splits:
        return (
            "no equation was found, outside of a loop that holds the loss, too, at which parameters meet "
            "data and whose result is an output of the network"
        )
    flat = True
    for split in products.splits:
        found = [_ends(products, batch, split, draws) for batch in range(products.batches)]
        low, high = min(low for low, _ in found), max(high for _, high in found)
        flat = flat and low == high == 0
        if math.isfinite(high) and high > 0 and low >= -BENDS_DOWN * high:
            return NetworkOutputs(split, low, high)
    if flat:
        return "the loss is linear in the outputs of the network, or a loop holds both"
    return "the loss bends down in the outputs of the network, wherever they were taken"


def _ends(
    products: Products, batch: int, split: OutputSplit, draws: np.random.Generator
) -> tuple[float, float]:
    size, dtype = split.ends.size, split.ends.dtype
    start = jnp.asarray(draws.standard_normal(size), dtype)
    run = Lanczos(lambda vector: products.of_outputs(batch, split, vector), start)
    while not run.ended and run.steps < OUTPUT_STEPS:
        run.step()
        if not run.finite:
            return math.nan, math.nan
    values = run.ritz().values
    return float(values[0]), float(values[-1])


def gauss_newton(
    products: Products, outputs: NetworkOutputs, pace: Pace, most_steps: int, rate: float | None
) -> GaussNewton | None:
    """`rate` is that of the step along the gradient that is best by the quadratic model. `None` where JᵀHJ
    is zero along the gradient, or not finite."""
    norm = products.gradient_norm
    run = Lanczos(lambda vector: products.gauss_newton(outputs.split, vector), products.gradient)
    most = min(MOST_STEPS, most_steps)
    while not run.ended and run.steps < most and (run.steps < FEWEST_STEPS or pace.has_time()):
        run.step()
        if not run.finite:
            return None
        if run.steps == 1:
            pace.granted(SHARE)
        if _left(run) <= SOLVED:
            break
    ritz = run.ritz()
    largest = float(ritz.values[-1])
    spacing = float(jnp.finfo(products.dtype).eps)  # type: ignore[no-untyped-call]
    error = max(float(ritz.errors[-1]), ROUNDED * spacing * largest)
    if not largest > 0:
        return None
    found = [
        (products.loss_at(run.vector(step), -float(np.linalg.norm(step))), damping, step)
        for damping in DAMPINGS
        if (step := _step(run, damping * largest, norm)) is not None
    ]
    loss, damping, _ = min(found, key=lambda each: each[0] if math.isfinite(each[0]) else math.inf)
    tries = run.steps + len(found)
    first = rate if rate is not None else 1 / largest
    of_gradient, best = best_along_gradient(products, first, tries)
    return GaussNewton(
        outputs=outputs.split.ends.size,
        source=outputs.split.source,
        output_low=outputs.low,
        output_high=outputs.high,
        largest=Eigenvalue(largest, error, is_found(largest, error, largest)),
        products=run.steps,
        tries=len(found),
        damping=damping * largest,
        change=loss - products.loss,
        gradient_change=of_gradient - products.loss,
        gradient_rate=best,
    )


def _tridiagonal(run: Lanczos) -> Floats:
    off = run.beside[:-1]
    return np.diag(run.diagonal) + np.diag(off, 1) + np.diag(off, -1)


def _step(run: Lanczos, damping: float, norm: float) -> Floats | None:
    """By its coordinates in the basis."""
    matrix = _tridiagonal(run) + damping * np.eye(run.steps)
    ends = np.linalg.eigvalsh(matrix)
    if ends[0] <= SINGULAR * ends[-1]:
        return None
    right = np.zeros(run.steps)
    right[0] = norm
    return np.asarray(np.linalg.solve(matrix, right), np.float64)


def _left(run: Lanczos) -> float:
    """The residual of the step with next to no damping, over the gradient."""
    largest = float(np.linalg.eigvalsh(_tridiagonal(run))[-1])
    step = _step(run, 2 * SINGULAR * largest, 1.0) if largest > 0 else None
    return 1.0 if step is None else float(run.beside[-1] * abs(step[-1]))


def best_along_gradient(products: Products, rate: float, tries: int) -> tuple[float, float]:
    """The lowest loss of so many steps along the gradient, and its rate: out from a first rate by a factor,
    and closer where neither side is lower."""
    losses: dict[float, float] = {}

    def at(power: float) -> float:
        if power not in losses:
            found = products.loss_at(products.gradient, -rate * FACTOR**power)
            losses[power] = found if math.isfinite(found) else math.inf
        return losses[power]

    here, apart = 0.0, 1.0
    at(here)
    while len(losses) < tries:
        sides: Sequence[float] = [here + apart, here - apart]
        for side in sides:
            if len(losses) < tries:
                at(side)
        best = min(losses, key=lambda power: losses[power])
        if best == here:
            apart /= 2
        here = best
    best = min(losses, key=lambda power: losses[power])
    return losses[best], rate * FACTOR**best
