"""Two ways to products with the Hessian: the program as a whole, or block by block where it is long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import Var

from gradscope.blocks.block import Block
from gradscope.blocks.second_order import SecondOrder, SecondOrderPoint
from gradscope.errors import GradscopeError
from gradscope.landscape.moving import Moving
from gradscope.landscape.outputs import OutputSplit
from gradscope.trace import jaxprs
from gradscope.trace.compiling import Compiled, NotEnoughMemory, compile_program, free_memory, users_errors
from gradscope.trace.jaxprs import Body

PRECISE = "highest"
"""Of products of matrices: some devices round their factors otherwise."""
ROOM = 0.3
"""Of free memory, for what linearized gradients keep."""
PRODUCTS = 100
"""About so many are taken."""


class NoRoom(Exception):
    """The linearized gradient does not fit."""


@dataclass
class Clock:
    """Compiles, and adds up the seconds of it."""

    seconds: float = 0.0

    def compile(self, function: Callable[..., Any], given: tuple[Any, ...]) -> Compiled:
        with jax.default_matmul_precision(PRECISE):
            found = compile_program(function, given, runs=1)
        self.seconds += found.trace_s + found.compile_s
        return found


class Way(Protocol):
    """Of each batch by its number; a vector holds all leaves that move."""

    first: list[tuple[Array, Array]]
    """The loss and its gradient."""

    def hessian(self, batch: int, vector: Array) -> Array:
        """The product with the Hessian."""

    def gauss_newton(self, batch: int, split: OutputSplit, vector: Array) -> Array:
        """The product with JᵀHJ."""

    def of_outputs(self, batch: int, split: OutputSplit, vector: Array) -> Array:
        """The product of H and a vector f[split.size]."""


class BlockProducts:
    """Each distinct block is linearized and compiled once."""

    def __init__(
        self,
        body: Body,
        blocks: Sequence[Block],
        moving: Moving,
        batches: Sequence[Sequence[Any]],
        clock: Clock,
    ) -> None:
        """`batches` are all inputs of the program, each. Raises `NoRoom` before it runs."""
        self._moving, self._clock = moving, clock
        with jax.default_matmul_precision(PRECISE), users_errors("differentiating the gradient"):
            self._program = SecondOrder(body, blocks, moving.places, PRODUCTS)
        clock.seconds += self._program.compile_s
        _require_room(self._program.kept * len(batches))
        self._points: list[SecondOrderPoint] = [self._program.at(batch) for batch in batches]
        own = self._points[0].gradient
        self._flat = clock.compile(moving.flat, (own,))
        self._parts = clock.compile(moving.parts, (jnp.zeros(moving.size, moving.dtype),))
        self.first = [(point.loss, self._flat(point.gradient)) for point in self._points]
        lengths = [len(block.body.eqns) for block in blocks]
        self._starts = {sum(lengths[:number]): number for number in range(len(blocks))}
        self._outputs: dict[OutputSplit, tuple[Compiled, Compiled]] = {}

    def hessian(self, batch: int, vector: Array) -> Array:
        return self._flat(self._points[batch].hessian(self._parts(vector)))  # type: ignore[no-any-return]

    def gauss_newton(self, batch: int, split: OutputSplit, vector: Array) -> Array:
        first, before = self._starts[split.index], self._program.compile_s
        found = self._points[batch].gauss_newton(first, self._parts(vector))
        self._clock.seconds += self._program.compile_s - before
        return self._flat(found)  # type: ignore[no-any-return]

    def of_outputs(self, batch: int, split: OutputSplit, vector: Array) -> Array:
        ends = split.ends
        if split not in self._outputs:
            parts = self._clock.compile(ends.parts, (vector,))
            self._outputs[split] = parts, self._clock.compile(ends.flat, (parts(vector),))
        parts, flat = self._outputs[split]
        direction = dict(zip(split.reads, parts(vector), strict=True))
        found = self._points[batch].of_outputs(self._starts[split.index], direction)
        return flat([found.get(var, direction[var] * 0) for var in split.reads])  # type: ignore[no-any-return]


class WholeProducts:
    """One program for each kind of product: the linear part of a linearized gradient alone where there is
    room to keep that, for a product is then half of the work; else forward over reverse, or reverse over
    reverse where a rule on the way has no forward mode."""

    def __init__(
        self, body: Body, moving: Moving, batches: Sequence[Sequence[Any]], clock: Clock, vector: Array
    ) -> None:
        self._body, self._moving, self._clock = body, moving, clock
        self._run = jaxprs.as_program(body)
        self._batches = [list(batch) for batch in batches]
        self.no_product = ""
        """Why there are no products, where there are none."""
        self._each: list[tuple[Compiled, tuple[Any, ...]]] = []
        """Of each batch: what makes a product, and what it is given before the vector."""
        self._splits: dict[tuple[OutputSplit, bool], Compiled] = {}
        self._begin(vector)

    def hessian(self, batch: int, vector: Array) -> Array:
        apply, given = self._each[batch]
        return apply(*given, vector)  # type: ignore[no-any-return]

    def gauss_newton(self, batch: int, split: OutputSplit, vector: Array) -> Array:
        return self._by_split(split, batch, vector, whole=True)

    def of_outputs(self, batch: int, split: OutputSplit, vector: Array) -> Array:
        return self._by_split(split, batch, vector, whole=False)

    def _begin(self, vector: Array) -> None:
        try:
            self._linearize(vector)
        except NoRoom:
            self._differentiate()
            program = self._compile(self._forward_over_reverse, (self._batches[0], vector))
        except NotEnoughMemory:
            raise
        except GradscopeError as forward:
            self._differentiate()
            try:
                program = self._compile(self._reverse_over_reverse, (self._batches[0], vector))
            except NotEnoughMemory:
                raise
            except GradscopeError as reverse:
                self.no_product = _both(forward, reverse)
                return
        if not self._each:
            self._each = [(program, (batch,)) for batch in self._batches]

    def _linearize(self, vector: Array) -> None:
        with users_errors("differentiating the gradient"):
            shapes = jax.eval_shape(self._linearized, self._batches[0])
        kept = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))
        _require_room(kept * len(self._batches))
        program = self._compile(self._linearized, (self._batches[0],))
        outputs = [program(batch) for batch in self._batches]
        apply = self._compile(self._applied, (outputs[0][1], vector))
        self.first = [output[0] for output in outputs]
        self._each = [(apply, (output[1],)) for output in outputs]

    def _differentiate(self) -> None:
        gradient = self._compile(self._value_and_gradient, (self._batches[0],))
        self.first = [gradient(batch) for batch in self._batches]

    def _compile(self, function: Any, given: tuple[Any, ...]) -> Compiled:
        return self._clock.compile(function, given)

    def _loss(self, inputs: list[Any]) -> tuple[Any, list[Array]]:
        """As a function of the leaves that move, and these."""
        put = self._moving.put
        return lambda own: self._run(*put(inputs, own))[0], self._moving.of(inputs)

    def _value_and_gradient(self, inputs: list[Any]) -> tuple[Array, Array]:
        return self._flattened(*self._loss(inputs))

    def _linearized(self, inputs: list[Any]) -> Any:
        """The loss and the gradient, and the derivative of the gradient as a function that can be kept."""
        loss, own = self._loss(inputs)
        return jax.linearize(lambda own: self._flattened(loss, own), own)

    def _applied(self, derivative: Any, vector: Array) -> Array:
        return derivative(self._moving.parts(vector))[1]  # type: ignore[no-any-return]

    def _flattened(self, loss: Any, own: list[Array]) -> tuple[Array, Array]:
        value, gradient = jax.value_and_grad(loss)(own)
        return value, self._moving.flat(gradient)

    def _forward_over_reverse(self, inputs: list[Any], vector: Array) -> Array:
        loss, own = self._loss(inputs)
        return self._moving.flat(jax.jvp(jax.grad(loss), (own,), (self._moving.parts(vector),))[1])

    def _reverse_over_reverse(self, inputs: list[Any], vector: Array) -> Array:
        loss, own = self._loss(inputs)
        direction = self._moving.parts(vector)

        def slope(own: list[Array]) -> Array:
            pairs = zip(jax.grad(loss)(own), direction, strict=True)
            return sum((jnp.vdot(each, part) for each, part in pairs), jnp.zeros((), self._moving.dtype))

        return self._moving.flat(jax.grad(slope)(own))

    def _by_split(self, split: OutputSplit, batch: int, vector: Array, *, whole: bool) -> Array:
        key = split, whole
        if key not in self._splits:

            def product(inputs: list[Any], vector: Array) -> Array:
                return (self._gauss_newton if whole else self._of_outputs)(split, inputs, vector)

            self._splits[key] = self._compile(product, (self._batches[batch], vector))
        return self._splits[key](self._batches[batch], vector)  # type: ignore[no-any-return]

    def _gauss_newton(self, split: OutputSplit, inputs: list[Any], vector: Array) -> Array:
        network, loss = self._apart(split, inputs)
        own = self._moving.of(inputs)
        outputs, pull, rest = jax.vjp(network, own, has_aux=True)
        moved = jax.jvp(lambda own: network(own)[0], (own,), (self._moving.parts(vector),))[1]
        bent = jax.jvp(jax.grad(lambda outputs: loss(outputs, rest)), (outputs,), (moved,))[1]
        return self._moving.flat(pull(bent)[0])

    def _of_outputs(self, split: OutputSplit, inputs: list[Any], vector: Array) -> Array:
        network, loss = self._apart(split, inputs)
        outputs, rest = network(self._moving.of(inputs))
        along = split.ends.parts(vector)
        bent = jax.jvp(jax.grad(lambda outputs: loss(outputs, rest)), (outputs,), (along,))[1]
        return split.ends.flat(bent)

    def _apart(self, split: OutputSplit, inputs: list[Any]) -> tuple[Any, Any]:
        """From the leaves that move to the outputs and all else that the loss reads, and from these to it."""
        body, variables = self._body, list(self._body.jaxpr.invars)
        ahead, behind = body.eqns[: split.index], body.eqns[split.index :]
        given = [*variables, *body.jaxpr.constvars]
        made: list[Any] = [var for eqn in ahead for var in eqn.outvars]
        read = {atom for eqn in behind for atom in eqn.invars if isinstance(atom, Var)}
        crossing = [var for var in (*given, *made) if var in read and var not in split.reads]
        loss_var = body.jaxpr.outvars[0]
        network = jaxprs.as_function(body, ahead, given, [*split.reads, *crossing])
        loss = jaxprs.as_function(body, behind, [*split.reads, *crossing], [loss_var])

        def run(own: list[Any]) -> Any:
            found = network(*self._moving.put(inputs, own), *body.consts)
            return found[: len(split.reads)], found[len(split.reads) :]

        return run, lambda outputs, rest: loss(*outputs, *rest)[0]


def _require_room(kept: int) -> None:
    free = free_memory()
    if free is not None and kept > ROOM * free:
        raise NoRoom


def _both(forward: GradscopeError, reverse: GradscopeError) -> str:
    """What JAX says of both ways, once where it is the same."""
    said, of_reverse = ((error.why or error.what).rstrip(".") for error in (forward, reverse))
    return said if said == of_reverse else f"{said}; by reverse mode: {of_reverse}"
