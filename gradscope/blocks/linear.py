"""A program at a point, and its derivative there as a program of its own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import jax
from jax.extend.core import Var, jaxpr_as_fun

from gradscope.blocks.residuals import depending, found_again, values_of
from gradscope.blocks.step import FlatFunction, selected
from gradscope.trace.compiling import Compiled, Request
from gradscope.trace.vocabulary import is_real


class LinearizedProgram:
    """A program whose inputs at `moves` may move: what it gives, and along tangents of these by what that
    changes. The second is linear, and runs as often as is wanted from what the first keeps."""

    def __init__(self, program: FlatFunction, moves: Sequence[bool]) -> None:
        self._program, self._moves = program, tuple(moves)
        self._at, (outs, derivative) = jax.make_jaxpr(self._linearized, return_shape=True)(*program.shapes)
        leaves, self._derivative = jax.tree.flatten(derivative)
        given, own = len(outs), self._at.jaxpr
        self._needed = own.outvars[given:]
        self._kept, self._residuals = found_again(
            own, given, [var for var in self._needed if isinstance(var, Var)]
        )
        self._tangents = list(compress(program.shapes, moves))
        self._along = jax.make_jaxpr(self._applied)(leaves, self._tangents)
        reaches = iter(depending(self._along.jaxpr, len(leaves)))
        self.reached = tuple(is_real(out) and any(moves) and next(reaches) for out in outs)
        """Which results move at all."""
        self._compiled: tuple[Compiled, Compiled | None] | None = None

    @property
    def kept(self) -> int:
        """Bytes of results that are for the derivative alone."""
        outs: list[Any] = [self._at.jaxpr.outvars[place] for place in self._kept[len(self.reached) :]]
        return sum(var.aval.size * var.aval.dtype.itemsize for var in outs)

    def requests(self, runs: int) -> list[Request]:
        """What has to be compiled before so many `runs` of the derivative; nothing where that was
        done before."""
        if self._compiled is not None:
            return []
        at = Request(selected(self._at, self._kept), tuple(self._program.shapes), runs=1)
        if not any(self.reached):
            return [at]
        shapes = [_shape(var) for var in self._residuals]
        return [at, Request(self._moved, (*shapes, *self._tangents), runs=runs)]

    def take(self, compiled: Sequence[Compiled]) -> None:
        """What became of its requests."""
        if compiled:
            self._compiled = compiled[0], compiled[1] if any(self.reached) else None

    def at(self, values: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The results, and what `along` needs."""
        assert self._compiled is not None
        found = self._compiled[0].start(*values)
        return found[: len(self.reached)], values_of(list(self._residuals.values()), values, found)

    def along(self, kept: Sequence[Any], tangents: Sequence[Any]) -> dict[int, Any]:
        """By place of a result that moves: by what, along tangents of all inputs that move."""
        assert self._compiled is not None
        along = self._compiled[1]
        found = [] if along is None else along.start(*kept, *tangents)
        places = [place for place, reach in enumerate(self.reached) if reach]
        return dict(zip(places, found, strict=True))

    def _linearized(self, *values: Any) -> Any:
        if not any(self._moves):
            return self._program.function(*values), ()

        def run(moving: list[Any]) -> Any:
            parts = iter(moving)
            pairs = zip(values, self._moves, strict=True)
            outs = self._program.function(*(next(parts) if moves else value for value, moves in pairs))
            return [out for out in outs if is_real(out)], outs

        _, derivative, outs = jax.linearize(run, list(compress(values, self._moves)), has_aux=True)
        return outs, derivative

    def _applied(self, leaves: list[Any], tangents: list[Any]) -> Any:
        return jax.tree.unflatten(self._derivative, leaves)(tangents) if any(self._moves) else []

    def _moved(self, *arguments: Any) -> list[Any]:
        count = len(self._residuals)
        known = dict(zip(self._residuals, arguments[:count], strict=True))
        leaves = [known[var] if isinstance(var, Var) else var.val for var in self._needed]
        found = jaxpr_as_fun(self._along)(*leaves, *arguments[count:])
        reaches = depending(self._along.jaxpr, len(leaves))
        return list(compress(found, reaches))


def _shape(var: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(var.aval.shape, var.aval.dtype)  # type: ignore[no-untyped-call]
