"""The loss, its gradient and products of its Hessian with vectors; a vector holds all leaves that move."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.errors import JaxRuntimeError

from gradscope.blocks.block import blocks_where_it_pays
from gradscope.blocks.forward import compile_forward
from gradscope.errors import GradscopeError
from gradscope.landscape.moving import Moving
from gradscope.landscape.outputs import OutputSplit, splits_of
from gradscope.landscape.ways import BlockProducts, Clock, NoRoom, Way, WholeProducts
from gradscope.trace.flattened import flattened
from gradscope.trace.program import Program
from gradscope.trace.sites import Plan


class Products:
    """Of the mean loss over batches, at one point; compiles each of its programs once, when it is asked."""

    def __init__(
        self,
        program: Program,
        weights: Sequence[Any],
        batches: Sequence[Sequence[Any]],
        moving: Collection[int],
    ) -> None:
        """`batches` are what the program takes after its leaves, each; `moving` the leaves of a vector."""
        self._weights = [jnp.asarray(weight) for weight in weights]
        self._batches = [list(batch) for batch in batches]
        self._moving = Moving(self._weights, moving)
        self.dtype, self.size = self._moving.dtype, self._moving.size
        self.slices = self._moving.slices
        self._body, self.splits = splits_of(flattened(program.body), len(weights), self._moving.places)
        self.count, self.seconds, self._clock = 0, 0.0, Clock()
        self._at: Callable[[list[Any]], Any] | None = None
        self._shift: Any = None
        self.no_product = ""
        """Why there are no products, where there are none."""
        vector = self.normal(np.random.default_rng(0))
        self._way = self._begin(vector)
        self.loss = float(np.mean([float(loss) for loss, _ in self._way.first]))
        total = sum((each for _, each in self._way.first), jnp.zeros(self.size, self.dtype))
        self.gradient: Array = total / len(self._batches)
        if not self.no_product:
            self.first = vector, self(vector)
            """A vector of independent normal numbers, and its product."""

    def _begin(self, vector: Array) -> Way:
        given = [[*self._weights, *batch] for batch in self._batches]
        ends = frozenset(var for split in self.splits for var in self._body.eqns[split.index - 1].outvars)
        blocks = blocks_where_it_pays(self._body, Plan(), given, ends)
        if blocks:
            with suppress(JaxRuntimeError, GradscopeError, NoRoom):
                return BlockProducts(self._body, blocks, self._moving, given, self._clock)
        whole = WholeProducts(self._body, self._moving, given, self._clock, vector)
        self.no_product = whole.no_product
        return whole

    @property
    def compile_s(self) -> float:
        return self._clock.seconds

    def vector(self, leaves: Sequence[Any]) -> Array:
        """Of values for all leaves of the program."""
        return self._moving.flat(self._moving.of(leaves))

    def leaves(self, vector: Array) -> list[Array]:
        """A vector as values for all leaves of the program; zeros for those that do not move."""
        zeros = [jnp.zeros_like(weight) for weight in self._weights]
        return self._moving.put(zeros, self._moving.parts(vector))

    def __call__(self, vector: Array) -> Array:
        """The product with the Hessian, f[size]."""
        start = perf_counter()
        found = self._mean(lambda batch: self._way.hessian(batch, vector))
        self.seconds += perf_counter() - start
        self.count += 1
        return found

    def gauss_newton(self, split: OutputSplit, vector: Array) -> Array:
        """The product with JᵀHJ, where the outputs are those of `split`."""
        return self._mean(lambda batch: self._way.gauss_newton(batch, split, vector))

    def of_outputs(self, batch: int, split: OutputSplit, vector: Array) -> Array:
        """The product of the Hessian by these outputs and a vector f[split.size], of one batch."""
        return self._way.of_outputs(batch, split, vector)

    def _mean(self, product: Callable[[int], Array]) -> Array:
        total: Any = None
        for batch in range(len(self._batches)):
            found = product(batch)
            total = found if total is None else total + found
        return jax.block_until_ready(total / len(self._batches))  # type: ignore[no-any-return,no-untyped-call]

    def loss_at(self, direction: Array, distance: float) -> float:
        """The loss at so many times a vector from here."""
        own = self._moving.of(self._weights)
        given = own, direction, np.asarray(distance, self.dtype)
        if self._at is None:

            def shifted(own: list[Array], vector: Array, distance: Array) -> list[Array]:
                return [
                    leaf + part for leaf, part in zip(own, self._moving.parts(vector * distance), strict=True)
                ]

            self._shift = self._clock.compile(shifted, given)
            start = perf_counter()
            self._at = compile_forward(self._body, [*self._weights, *self._batches[0]], 1)
            self._clock.seconds += perf_counter() - start
        moved = self._moving.put(self._weights, self._shift(*given))
        return float(np.mean([float(self._at([*moved, *batch])[0]) for batch in self._batches]))

    @property
    def batches(self) -> int:
        return len(self._batches)

    @property
    def gradient_norm(self) -> float:
        return float(jnp.linalg.norm(self.gradient))

    @property
    def product_s(self) -> float:
        """Seconds of one product, so far."""
        return self.seconds / max(1, self.count)

    def normal(self, draws: np.random.Generator) -> Array:
        """A vector of independent normal numbers."""
        return jnp.asarray(draws.standard_normal(self.size), self.dtype)
