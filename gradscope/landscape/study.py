"""The whole of it, part by part: what is known after each is in the record, wherever it ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.landscape import lines, natural
from gradscope.landscape.by_layer import LayerPlaces, parts_of, sharpness
from gradscope.landscape.pace import Pace
from gradscope.landscape.products import Products
from gradscope.landscape.spectrum import (
    FEWEST_PROBES,
    MOST_PROBES,
    MOST_SAMPLES,
    MOST_STEPS,
    PROBE_STEPS,
    End,
    Spectrum,
    density,
    enough,
    trace_of,
)
from gradscope.load.usercode.fault import Looks
from gradscope.records import Curvature, GaussNewton, LayerSharpness, Skipped
from gradscope.records.progress import Progress
from gradscope.trace.compiling import free_memory
from gradscope.trace.program import Program

SYMMETRIC = 0.05
"""Of the matrix: less asymmetry is rounding."""
ENDS, NATURAL, PROBES = 0.45, 0.6, 0.8
"""Parts of the time by which each part ends."""
FEWEST_STEPS = 2
"""Of a probe, where time is short."""
SECOND = "second derivatives"
STEP = "the Gauss-Newton step"
ROOM = 0.4
"""Of free memory, for the vectors of Lanczos."""


class Study:
    """`record` is what is known, `skipped` what was left out and why."""

    def __init__(self, program: Program, products: Products, record: Curvature, progress: Progress) -> None:
        self.program, self.products, self.record = program, products, record
        self.looks, self._left = Looks(), list[Skipped]()
        self._progress = progress
        self._parts: list[LayerPlaces] = parts_of(program, products)
        self._draws = np.random.default_rng(1)
        self._largest: End | None = None
        self._smallest: End | None = None

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        return (*self._left, *self.looks.failed)

    def run(self, budget_s: float, update: Callable[[], tuple[Array, str]] | None, *, layers: bool) -> None:
        """`update` is the optimizer's first one, and its name."""
        products, pace = self.products, Pace(budget_s, lambda: self.products.product_s)
        if not math.isfinite(products.loss) or not bool(jnp.isfinite(products.gradient).all()):
            self._left.append(Skipped(SECOND, "the loss or its gradient is not finite"))
            return
        if products.no_product:
            self._left.append(
                Skipped(SECOND, f"the gradient cannot be differentiated: {products.no_product}")
            )
            self._critical(update)
            return
        spectrum = self._ends(pace)
        self._critical(update)
        if spectrum is None:
            return
        step = self.looks.taken("the step along the gradient", lambda: lines.along_gradient(products), None)
        self.record = replace(self.record, gradient_step=step)
        self._negative()
        self._natural(pace)
        self._probes(spectrum, pace)
        if layers:
            self._layers(pace)
        self.record = replace(self.record, products=products.count)

    def _ends(self, pace: Pace) -> Spectrum | None:
        """`None` where there is no symmetric matrix, or where it is zero."""
        products = self.products
        spectrum = Spectrum(products, products.size, products.first, _steps_that_fit(products))
        pace.up_to(ENDS)
        for step, ritz in enumerate(spectrum.extend(self._start(), pace), 1):
            low, high = ritz.values[0], ritz.values[-1]
            self._progress(f"product {step}: eigenvalues from {low:.3g} to {high:.3g}")
        if not spectrum.finite:
            self._left.append(Skipped(SECOND, f"they are not finite{self._where()}"))
            return None
        asymmetry = spectrum.asymmetry
        self.record = replace(self.record, asymmetry=asymmetry, products=products.count, zero=spectrum.zero)
        if asymmetry > SYMMETRIC:
            self._left.append(Skipped(SECOND, _not_symmetric(asymmetry)))
            return None
        if spectrum.zero:
            self.record = replace(self.record, trace=0.0, trace_error=0.0, density=density((), 0.0, 0.0))
            return None
        self._largest = spectrum.end(-1)
        self.record = replace(self.record, largest=self._largest.eigenvalue)
        self._smallest = spectrum.end(0)
        self.record = replace(self.record, smallest=self._smallest.eigenvalue, products=products.count)
        if pace.spent and not (
            self._converged(self.record.largest) and self._converged(self.record.smallest)
        ):
            self._left.append(Skipped("closer ends of the spectrum", "time was up: --budget gives more"))
        return spectrum

    def _start(self) -> Array:
        """The gradient lies mostly along the largest eigenvalues (Gur-Ari, Roberts and Dyer 2018): with it
        they are found in fewer products. Something random beside it misses none."""
        products = self.products
        start = products.normal(self._draws)
        start = start / jnp.linalg.norm(start)
        size = products.gradient_norm
        return jnp.asarray(start if size == 0 else start + products.gradient / size)

    def _critical(self, update: Callable[[], tuple[Array, str]] | None) -> None:
        if update is None:
            return
        self._progress("trying the first update")
        products = self.products

        def look() -> Any:
            vector, name = update()
            if not bool(jnp.isfinite(vector).all()) or not bool(vector.any()):
                self._left.append(Skipped("the first update", "it is zero, or not finite"))
                return None
            return lines.critical_step(products, vector, name)

        self.record = replace(self.record, critical=self.looks.taken("the first update", look, None))

    def _negative(self) -> None:
        end, largest = self._smallest, self.record.largest
        assert end is not None
        assert largest is not None
        smallest = end.eigenvalue
        spacing = float(jnp.finfo(self.products.dtype).eps)  # type: ignore[no-untyped-call]
        size = max(abs(smallest.value), abs(largest.value))
        if smallest.value >= -max(100 * spacing, self.record.asymmetry or 0.0) * size:
            return
        self._progress("trying the direction of negative curvature")
        found = self.looks.taken(
            "the direction of negative curvature",
            lambda: lines.along_negative(self.products, end, self._parts),
            None,
        )
        self.record = replace(self.record, negative=found)

    def _natural(self, pace: Pace) -> None:
        """The Gauss-Newton step, where the outputs of the network are told from the loss."""
        if self.record.stationary:
            self._left.append(Skipped(STEP, "the gradient is zero but for rounding"))
            return
        pace.up_to(NATURAL)
        self._progress("trying the Gauss-Newton step")
        products = self.products

        def look() -> GaussNewton | None:
            outputs = natural.outputs_of(products, self._draws)
            if isinstance(outputs, str):
                self._left.append(Skipped(STEP, outputs))
                return None
            step = self.record.gradient_step
            rate = None if step is None else step.rate
            pace.spent = False
            found = natural.gauss_newton(products, outputs, pace, _steps_that_fit(products), rate)
            if pace.spent:
                self._left.append(Skipped("a closer Gauss-Newton step", "time was up: --budget gives more"))
            if found is None:
                self._left.append(
                    Skipped(STEP, "the Gauss-Newton matrix is zero along the gradient, or not finite")
                )
            return found

        found = self.looks.taken(STEP, look, None)
        self.record = replace(self.record, gauss_newton=found)

    def _probes(self, spectrum: Spectrum, pace: Pace) -> None:
        """As many as time allows, each of fewer steps where it is short."""
        pace.up_to(PROBES)
        products = self.products
        steps = max(FEWEST_STEPS, min(PROBE_STEPS, _steps_that_fit(products), pace.left() // 4))
        while len(spectrum.nodes) < FEWEST_PROBES or (
            len(spectrum.nodes) < MOST_PROBES and pace.has_time(steps) and not enough(spectrum.traces())
        ):
            self._progress(f"probe {len(spectrum.nodes) + 1} of up to {MOST_PROBES}")
            spectrum.probe(products.normal(self._draws), steps)
            self._known(spectrum)
        while spectrum.samples < MOST_SAMPLES and pace.has_time() and not enough(spectrum.traces()):
            spectrum.sample(products.normal(self._draws))
        self._known(spectrum)

    def _known(self, spectrum: Spectrum) -> None:
        trace, error = trace_of(spectrum.traces())
        low = min(float(each.values[0]) for each in spectrum.nodes)
        high = max(float(each.values[-1]) for each in spectrum.nodes)
        self.record = replace(
            self.record,
            trace=trace,
            trace_error=error,
            probes=spectrum.samples,
            density=density(spectrum.nodes, low, high),
            products=self.products.count,
        )

    def _layers(self, pace: Pace) -> None:
        pace.up_to(1.0)
        parts = self._parts
        rows = [LayerSharpness(part.name, part.size, part.source, None) for part in parts]
        found = sharpness(self.products, parts, self._largest, self._draws, pace)
        for done, (place, value) in enumerate(found, 1):
            rows[place] = replace(rows[place], largest=value)
            self.record = replace(self.record, layers=tuple(rows), products=self.products.count)
            self._progress(f"layer {done} of {len(parts)}")
        left = sum(row.largest is None for row in rows)
        if left:
            self._left.append(
                Skipped(f"the sharpness of {left} of {len(rows)} layers", "time was up: --budget gives more")
            )

    def _converged(self, value: Any) -> bool:
        return value is not None and bool(value.converged)

    def _where(self) -> str:
        """The layers in which a product is not finite."""
        bad = ~jnp.isfinite(self.products.first[1])
        names = [part.name for part in self._parts if bool(bad[part.places].any())]
        if not names:
            return ""
        more = f" and {len(names) - 3} more layers" if len(names) > 3 else ""
        return f", in {', '.join(names[:3])}{more}"


def _steps_that_fit(products: Products) -> int:
    free = free_memory()
    most = MOST_STEPS if free is None else int(ROOM * free / (products.size * products.dtype.itemsize))
    return max(2, min(MOST_STEPS, most))


def _not_symmetric(asymmetry: float) -> str:
    return (
        f"the derivative of the gradient is not symmetric ({asymmetry:.2g} of it is not): the gradient is "
        "that of no function, as with a custom rule that is no derivative, or it is mostly rounding"
    )


def moving_of(connected: Sequence[bool], frozen: Sequence[bool]) -> list[int]:
    """The leaves that are looked at: all of them where none is left."""
    found = [
        i
        for i, (is_connected, held) in enumerate(zip(connected, frozen, strict=True))
        if is_connected and not held
    ]
    return found or list(range(len(connected)))
