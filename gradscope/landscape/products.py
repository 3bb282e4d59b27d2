"""The loss, its gradient and products of its Hessian with vectors; a vector holds all leaves that move."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from time import perf_counter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from gradscope.errors import GradscopeError
from gradscope.trace import jaxprs
from gradscope.trace.compiling import Compiled, NotEnoughMemory, compile_program, free_memory, users_errors
from gradscope.trace.program import Program

PRECISE = "highest"
"""Of products of matrices: some devices round their factors otherwise."""


ROOM = 0.3
"""Of free memory, for what linearized gradients keep."""


class _NoRoom(Exception):
    """The linearized gradient does not fit."""


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
        self._run = jaxprs.as_program(program.body)
        self._places = sorted(moving)
        self._weights = [jnp.asarray(weight) for weight in weights]
        self._batches = [list(batch) for batch in batches]
        self._program = program
        own = [self._weights[place] for place in self._places]
        self.dtype = jnp.result_type(*own)
        self.sizes = [int(weight.size) for weight in own]
        self.size = sum(self.sizes)
        self.count, self.seconds, self.compile_s = 0, 0.0, 0.0
        self._each: list[tuple[Compiled, tuple[Any, ...]]] = []
        """Of each batch: what makes a product, and what it is given before the vector."""
        self._at: Compiled | None = None
        self._first: tuple[Array, Array]
        self.loss = 0.0
        self.gradient = jnp.zeros(self.size, self.dtype)
        self.no_product = ""
        """Why there are no products, where there are none."""
        self._begin()

    def slices(self) -> list[tuple[int, slice]]:
        """By leaf of the program: where it lies in a vector."""
        ends = np.cumsum([0, *self.sizes])
        return [(leaf, slice(int(ends[i]), int(ends[i + 1]))) for i, leaf in enumerate(self._places)]

    def vector(self, leaves: Sequence[Any]) -> Array:
        """Of values for all leaves of the program."""
        return jnp.concatenate([jnp.ravel(leaves[i]).astype(self.dtype) for i in self._places])

    def leaves(self, vector: Array) -> list[Array]:
        """A vector as values for all leaves of the program; zeros for those that do not move."""
        found = [jnp.zeros_like(weight) for weight in self._weights]
        for place, part in zip(self._places, self._parts(vector), strict=True):
            found[place] = part
        return found

    def __call__(self, vector: Array) -> Array:
        """The product with the Hessian, f[size]."""
        start = perf_counter()
        total: Any = None
        for apply, given in self._each:
            product = apply(*given, vector)
            total = product if total is None else total + product
        found = jax.block_until_ready(total / len(self._each))  # type: ignore[no-untyped-call]
        self.seconds += perf_counter() - start
        self.count += 1
        return found  # type: ignore[no-any-return]

    def loss_at(self, direction: Array, distance: float) -> float:
        """The loss at so many times a vector from here."""
        given = self._weights, direction, np.asarray(distance, self.dtype)
        if self._at is None:

            def shifted(weights: list[Array], vector: Array, distance: Array, others: list[Any]) -> Array:
                parts = self._parts(vector * distance)
                moved = list(weights)
                for place, part in zip(self._places, parts, strict=True):
                    moved[place] = moved[place] + part
                return self._loss(moved, others)

            self._at = self._compile(shifted, (*given, self._batches[0]))
        at = self._at
        return float(np.mean([float(at(*given, batch)) for batch in self._batches]))

    @property
    def gradient_norm(self) -> float:
        return float(jnp.linalg.norm(self.gradient))

    @property
    def product_s(self) -> float:
        """Seconds of one product, so far."""
        return self.seconds / max(1, self.count)

    @property
    def first(self) -> tuple[Array, Array]:
        """A vector of independent normal numbers, and its product."""
        return self._first

    def _begin(self) -> None:
        """Linearized where there is room to keep that: a product is then half of the work. Else forward over
        reverse, or reverse over reverse where a rule on the way has no forward mode."""
        vector = self.normal(np.random.default_rng(0))
        try:
            self._linearize(vector)
        except _NoRoom:
            self._differentiate()
            self._each = [
                (
                    self._compile(self._forward_over_reverse, (self._weights, batch, vector)),
                    (self._weights, batch),
                )
                for batch in self._batches
            ]
        except NotEnoughMemory:
            raise
        except GradscopeError as forward:
            self._differentiate()
            try:
                given = self._weights, self._batches[0], vector
                program = self._compile(self._reverse_over_reverse, given)
            except NotEnoughMemory:
                raise
            except GradscopeError as reverse:
                self.no_product = _both(forward, reverse)
                return
            self._each = [(program, (self._weights, batch)) for batch in self._batches]
        self._first = vector, self(vector)

    def _linearize(self, vector: Array) -> None:
        given = self._weights, self._batches[0]
        kept = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(self._shapes(given)))
        free = free_memory()
        if free is not None and kept * len(self._batches) > ROOM * free:
            raise _NoRoom
        program = self._compile(self._linearized, given)
        outputs = [program(self._weights, batch) for batch in self._batches]
        self._set_mean([output[0] for output in outputs])
        apply = self._compile(self._applied, (outputs[0][1], vector))
        self._each = [(apply, (output[1],)) for output in outputs]

    def _shapes(self, given: tuple[Any, ...]) -> Any:
        with users_errors("differentiating the gradient"):
            return jax.eval_shape(self._linearized, *given)

    def _differentiate(self) -> None:
        gradient = self._compile(self._value_and_gradient, (self._weights, self._batches[0]))
        self._set_mean([gradient(self._weights, batch) for batch in self._batches])

    def _set_mean(self, found: list[tuple[Array, Array]]) -> None:
        self.loss = float(np.mean([float(loss) for loss, _ in found]))
        self.gradient = sum((each for _, each in found), jnp.zeros(self.size, self.dtype)) / len(found)

    def normal(self, draws: np.random.Generator) -> Array:
        """A vector of independent normal numbers."""
        return jnp.asarray(draws.standard_normal(self.size), self.dtype)

    def _compile(self, function: Any, given: tuple[Any, ...]) -> Compiled:
        with jax.default_matmul_precision(PRECISE):
            found = compile_program(function, given, runs=1)
        self.compile_s += found.trace_s + found.compile_s
        return found

    def _loss(self, weights: list[Array], others: list[Any]) -> Array:
        return self._run(*weights, *others)[0]  # type: ignore[no-any-return]

    def _split(self, weights: list[Array], others: list[Any]) -> tuple[Any, list[Array]]:
        """The loss as a function of the leaves that move, and these."""

        def loss(own: list[Array]) -> Array:
            all_of_them = list(weights)
            for place, weight in zip(self._places, own, strict=True):
                all_of_them[place] = weight
            return self._loss(all_of_them, others)

        return loss, [weights[place] for place in self._places]

    def _parts(self, vector: Array) -> list[Array]:
        """In the shapes and dtypes of the leaves."""
        parts = jnp.split(vector, np.cumsum(self.sizes)[:-1])
        own = [self._weights[place] for place in self._places]
        return [part.reshape(w.shape).astype(w.dtype) for part, w in zip(parts, own, strict=True)]

    def _flat(self, leaves: Sequence[Array]) -> Array:
        return jnp.concatenate([jnp.ravel(leaf).astype(self.dtype) for leaf in leaves])

    def _value_and_gradient(self, weights: list[Array], others: list[Any]) -> tuple[Array, Array]:
        return self._flattened(*self._split(weights, others))

    def _linearized(self, weights: list[Array], others: list[Any]) -> Any:
        """The loss and the gradient, and the derivative of the gradient as a function that can be kept."""
        loss, own = self._split(weights, others)
        return jax.linearize(lambda own: self._flattened(loss, own), own)

    def _applied(self, derivative: Any, vector: Array) -> Array:
        return derivative(self._parts(vector))[1]  # type: ignore[no-any-return]

    def _flattened(self, loss: Any, own: list[Array]) -> tuple[Array, Array]:
        value, gradient = jax.value_and_grad(loss)(own)
        return value, self._flat(gradient)

    def _forward_over_reverse(self, weights: list[Array], others: list[Any], vector: Array) -> Array:
        loss, own = self._split(weights, others)
        return self._flat(jax.jvp(jax.grad(loss), (own,), (self._parts(vector),))[1])

    def _reverse_over_reverse(self, weights: list[Array], others: list[Any], vector: Array) -> Array:
        loss, own = self._split(weights, others)
        direction = self._parts(vector)

        def slope(own: list[Array]) -> Array:
            pairs = zip(jax.grad(loss)(own), direction, strict=True)
            return sum((jnp.vdot(each, part) for each, part in pairs), jnp.zeros((), self.dtype))

        return self._flat(jax.grad(slope)(own))


def _both(forward: GradscopeError, reverse: GradscopeError) -> str:
    """What JAX says of both ways, once where it is the same."""
    said, of_reverse = ((error.why or error.what).rstrip(".") for error in (forward, reverse))
    return said if said == of_reverse else f"{said}; by reverse mode: {of_reverse}"
