"""Both ends of the spectrum, the trace and the density, by Lanczos from random vectors.

Sources: Golub and Welsch 1969 and Ubaru, Chen and Saad 2017 (stochastic Lanczos quadrature), Hutchinson 1990
(the trace by random vectors), Ghorbani, Krishnan and Xiao 2019 (both on the Hessian of networks).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.landscape.lanczos import Floats, Lanczos, Product, Ritz
from gradscope.landscape.pace import Pace
from gradscope.records import DensityBin, Eigenvalue

MOST_STEPS = 80
FEWEST_STEPS = 4
"""However short time is: fewer find nothing."""
PROBE_STEPS = 24
MOST_PROBES = 12
FEWEST_PROBES = 2
ENOUGH_PROBES = 4
EXACT_ENOUGH = 0.01
"""Of the largest |eigenvalue|: the error at which an end is found."""
SIGN = 0.1
"""Of an end itself that is small beside the other one: its error."""
NOTHING = 1e-4
"""Of the largest |eigenvalue|: what is so near to zero is not looked at more closely."""
TRACE_ERROR = 0.02
MOST_SAMPLES = 200
"""Of the trace; one product each."""
ROUNDED = 10.0
"""Spacings of numbers by which an eigenvalue may be off whatever its residual."""
BINS = 21
"""About what 24 steps of Lanczos resolve in the middle."""


@dataclass(frozen=True)
class End:
    """One end of the spectrum, with its vector."""

    eigenvalue: Eigenvalue
    vector: Array


def is_found(value: float, error: float, size: float) -> bool:
    close = error <= EXACT_ENOUGH * size and error <= SIGN * abs(value)
    return error <= EXACT_ENOUGH * abs(value) or close or error <= NOTHING * size


class Spectrum:
    """Of a symmetric operator; `steps` and `probes` go on until the numbers are there or time is up."""

    def __init__(self, product: Product, size: int, first: tuple[Array, Array], most_steps: int) -> None:
        """`first` is a random vector and its product, which other products are held against."""
        self._product, self._size, self._most = product, size, most_steps
        self._against = first
        self._pairs: list[tuple[float, float]] = []
        self._main: Lanczos | None = None
        self.nodes: list[Ritz] = []
        """Of each run."""
        self._quotients: list[float] = []
        """Of each start."""
        self.finite = True

    def extend(self, start: Array, pace: Pace) -> Iterator[Ritz]:
        """The first run, until both ends are found; yields what is known after each step."""
        run = self._main = Lanczos(self._paired, start)
        while not run.ended and run.steps < self._most and (run.steps < FEWEST_STEPS or pace.has_time()):
            run.step()
            if not run.finite:
                self.finite = False
                return
            ritz = run.ritz()
            yield ritz
            size = float(np.abs(ritz.values).max())
            ends = (ritz.values[0], ritz.errors[0]), (ritz.values[-1], ritz.errors[-1])
            if all(is_found(float(value), float(error), size) for value, error in ends):
                break

    @property
    def zero(self) -> bool:
        """The first product of the first run is exactly zero."""
        run = self._main
        return run is not None and not (run.diagonal[0] or run.beside[0])

    def probe(self, start: Array, steps: int) -> None:
        run = Lanczos(self._product, start)
        while not run.ended and run.steps < steps:
            run.step()
        if run.finite:
            self._keep(run)

    def _keep(self, run: Lanczos) -> None:
        self.nodes.append(run.ritz())
        self._quotients.append(run.diagonal[0])

    def end(self, which: int) -> End:
        """-1: the largest, 0: the smallest; by one product more, whose residual is its error."""
        run = self._main
        assert run is not None
        ritz = run.ritz()
        vector = run.vector(ritz.coordinates[:, which])
        product = self._product(vector)
        value = float(jnp.vdot(vector, product))
        size = float(np.abs(ritz.values).max())
        spacing = float(jnp.finfo(vector.dtype).eps)  # type: ignore[no-untyped-call]
        error = max(float(jnp.linalg.norm(product - value * vector)), ROUNDED * spacing * size)
        return End(Eigenvalue(value, error, is_found(value, error, size)), vector)

    def sample(self, start: Array) -> None:
        """One more estimate of the trace."""
        start = start / jnp.linalg.norm(start)
        self._quotients.append(float(jnp.vdot(start, self._product(start))))

    @property
    def samples(self) -> int:
        """Of the trace."""
        return len(self._quotients)

    @property
    def asymmetry(self) -> float:
        """Norm of the difference of the matrix and its transpose, over its own; by pairs of products."""
        pairs = np.asarray(self._pairs)
        size = float(np.sqrt(np.mean(pairs[:, 1] ** 2)))
        return float(np.sqrt(np.mean(pairs[:, 0] ** 2))) / size if size else 0.0

    def traces(self) -> Floats:
        """One estimate by each run."""
        return self._size * np.asarray(self._quotients)

    def _paired(self, vector: Array) -> Array:
        product = self._product(vector)
        other, of_other = self._against
        difference = float(jnp.vdot(other, product)) - float(jnp.vdot(of_other, vector))
        self._pairs.append((difference, float(jnp.linalg.norm(product))))
        return product


def trace_of(estimates: Floats) -> tuple[float, float | None]:
    """Mean and standard error."""
    error = float(np.std(estimates, ddof=1) / np.sqrt(estimates.size)) if estimates.size > 1 else None
    return float(np.mean(estimates)), error


def enough(estimates: Floats) -> bool:
    mean, error = trace_of(estimates)
    return estimates.size >= ENOUGH_PROBES and error is not None and error <= TRACE_ERROR * abs(mean)


def density(nodes: Sequence[Ritz], low: float, high: float) -> tuple[DensityBin, ...]:
    """Shares of the eigenvalues in bins of one width, one of them around zero; together they are 1."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high == low:
        return (DensityBin(0.0, 0.0, 1.0),)
    width = (high - low) / (BINS - 1)
    first, last = round(low / width), round(high / width)
    shares: Any = np.zeros(last - first + 1)
    for ritz in nodes:
        places = np.clip(np.rint(ritz.values / width).astype(int), first, last) - first
        np.add.at(shares, places, ritz.weights / ritz.weights.sum() / len(nodes))
    return tuple(
        DensityBin((first + place - 0.5) * width, (first + place + 0.5) * width, float(share))
        for place, share in enumerate(shares)
    )
