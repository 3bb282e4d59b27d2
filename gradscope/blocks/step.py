"""One distinct block, differentiated and compiled: forward with what backward needs, and backward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import JaxprEqn, Var, jaxpr_as_fun

from gradscope.blocks.block import Block
from gradscope.blocks.recomputing import made_again
from gradscope.blocks.residuals import Residual, depending, found_again, values_of
from gradscope.trace import jaxprs
from gradscope.trace.compiling import Compiled, Request, blame_outside
from gradscope.trace.interpret import Slot, Taps, evaluate
from gradscope.trace.statistics import Selection, Stats

Shapes = Sequence[jax.ShapeDtypeStruct]


@dataclass(frozen=True)
class FlatFunction:
    """A function of flat arrays, and their shapes."""

    function: Callable[..., list[Any]]
    shapes: Shapes


@dataclass(frozen=True)
class BlockResult:
    """What a block gave, and what its backward needs."""

    writes: list[Any]
    statistics: list[Any]
    """Of its sites, then of its probes."""
    residuals: list[Any]


class BlockProgram:
    """A block whose reads at `moves` are differentiated, for cotangents of the writes at `wanted`."""

    def __init__(
        self,
        block: Block,
        moves: tuple[bool, ...],
        wanted: tuple[bool, ...],
        slots: list[Slot],
        selection: Selection,
    ) -> None:
        """`slots` are the shapes of what each site is given."""
        self.block, self.moves, self.wanted = block, moves, wanted
        self._selection = selection
        self._sinks = [slot.sink for slot in slots]
        self._gains = [slot.gains for slot in slots]
        self._forward, shapes = jax.make_jaxpr(self._differentiated, return_shape=True)(
            [_shape(var) for var in block.reads], [slot.gains for slot in slots]
        )
        (writes, statistics, pullback) = shapes
        self._writes, self._statistics = len(writes), jax.tree.structure(statistics)
        self._given = self._writes + len(jax.tree.leaves(statistics))
        residuals, self._pullback = jax.tree.flatten(pullback)
        self._needed = self._forward.jaxpr.outvars[self._given :]
        self._again = self._made_again()
        self._kept, self._residuals = self._shared()
        self._residual_shapes = residuals
        self._cotangents = [
            _shape(var) for var, is_wanted in zip(block.writes, wanted, strict=True) if is_wanted
        ]
        self._backward = jax.make_jaxpr(self._pulled)(residuals, self._cotangents)
        self.reached = self._reached()
        """Which of the reads at `moves` get a gradient: of the others it is zero, whatever comes back."""
        self._compiled: tuple[Compiled, Compiled | None] | None = None

    def _differentiated(self, values: list[Any], gains: list[Array]) -> Any:
        moving = [value for value, moves in zip(values, self.moves, strict=True) if moves]
        zeros = jax.tree.map(lambda each: jnp.zeros(each.shape, each.dtype), self._sinks)

        def run(moving: list[Any], sinks: list[Stats]) -> Any:
            parts = iter(moving)
            given = [next(parts) if moves else value for value, moves in zip(values, self.moves, strict=True)]
            block = self.block
            sited = zip(block.sites, sinks, gains, strict=True)
            taps = Taps({site.id: Slot(sink, gain) for site, sink, gain in sited}, self._selection)
            outs = evaluate(block.body, given, block.plan, taps)
            found = [taps.forward[name] for name in block.names]
            return [out for out, wanted in zip(outs, self.wanted, strict=True) if wanted], (outs, found)

        _, pullback, (outs, found) = jax.vjp(run, moving, zeros, has_aux=True)
        return outs, found, pullback

    def _pulled(self, residuals: list[Any], cotangents: list[Any]) -> Any:
        return jax.tree.unflatten(self._pullback, residuals)(cotangents)

    def _made_again(self) -> list[JaxprEqn]:
        """Equations that backward runs once more, so that their results are not kept."""
        body = self._forward.jaxpr
        kept = {var for var in self._needed if isinstance(var, Var)}
        given = {var for var in (*body.invars, *body.outvars[: self._given]) if isinstance(var, Var)}
        return made_again(body.eqns, kept, given)

    def _shared(self) -> tuple[list[int], dict[Var, Residual]]:
        """The results that forward has to give, and where backward finds each value that it is given."""
        again = {eqn.outvars[0] for eqn in self._again}
        needed = [*self._needed, *(atom for eqn in self._again for atom in eqn.invars)]
        wanted = [atom for atom in needed if isinstance(atom, Var) and atom not in again]
        return found_again(self._forward.jaxpr, self._given, wanted)

    def _pulled_back(self, *arguments: Any) -> list[Any]:
        """The backward program, of what is kept and of the cotangents."""
        given, made = list(self._residuals), [eqn.outvars[0] for eqn in self._again]
        values, cotangents = arguments[: len(given)], arguments[len(given) :]
        again = jaxprs.as_function(jaxprs.body_of(self._forward), self._again, given, made)
        known = dict(zip([*given, *made], [*values, *again(*values)], strict=True))
        residuals = [known[var] if isinstance(var, Var) else var.val for var in self._needed]
        return list(jaxpr_as_fun(self._backward)(*residuals, *cotangents))

    def _reached(self) -> tuple[bool, ...]:
        return depending(self._backward.jaxpr, len(self._residual_shapes))[: sum(self.moves)]

    @property
    def derivative(self) -> tuple[FlatFunction, FlatFunction]:
        """What runs forward and backward, before it is compiled."""
        reads: list[Any] = [*(_shape(var) for var in self.block.reads), *self._gains]
        pulled = [*map(_shape, self._residuals), *self._cotangents]
        ahead = FlatFunction(selected(self._forward, self._kept), reads)
        return ahead, FlatFunction(self._pulled_back, pulled)

    @property
    def residuals(self) -> list[Residual]:
        """What backward is given before the cotangents."""
        return list(self._residuals.values())

    @property
    def kept(self) -> int:
        """Bytes of results that forward gives for backward alone."""
        outs: list[Any] = [self._forward.jaxpr.outvars[place] for place in self._kept[self._given :]]
        return sum(var.aval.size * var.aval.dtype.itemsize for var in outs)

    @property
    def has_backward(self) -> bool:
        return any(self.wanted)

    @property
    def executables(self) -> tuple[Any, ...]:
        return tuple(each.executable for each in self._compiled or () if each is not None)

    def requests(self, runs: int, work: float) -> list[Request]:
        """What has to be compiled before it runs; nothing where that was done before."""
        if self._compiled is not None:
            return []
        ahead, back = self.derivative
        asked = [ahead, back] if self.has_backward else [ahead]
        return [
            Request(each.function, tuple(each.shapes), runs=runs, work=work, plain=blame_outside)
            for each in asked
        ]

    def take(self, compiled: Sequence[Compiled]) -> None:
        """What became of its requests."""
        if compiled:
            self._compiled = compiled[0], compiled[1] if self.has_backward else None

    def forward(self, values: Sequence[Any], gains: Sequence[Any]) -> BlockResult:
        assert self._compiled is not None
        arguments = [*values, *gains]
        found = self._compiled[0].start(*arguments)
        residuals = values_of(self.residuals, arguments, found)
        writes, rest = found[: self._writes], found[self._writes : self._given]
        return BlockResult(
            writes, jax.tree.unflatten(self._statistics, rest), residuals if self.has_backward else []
        )

    def backward(self, residuals: list[Any], cotangents: Sequence[Any]) -> tuple[list[Any], list[Stats]]:
        """Gradients of the reads at `moves`, and the statistics of δ of each site."""
        assert self._compiled is not None
        assert self._compiled[1] is not None
        found = self._compiled[1].start(*residuals, *cotangents)
        sinks = jax.tree.structure(self._sinks)
        return found[: sum(self.moves)], jax.tree.unflatten(sinks, found[sum(self.moves) :])


def selected(closed: Any, kept: list[int]) -> Callable[..., Any]:
    """A traced program as a function of flat arguments; XLA drops what leads to no result that is kept."""
    run = jaxpr_as_fun(closed)

    def selected(*arguments: Any) -> list[Any]:
        outs = run(*arguments)
        return [outs[place] for place in kept]

    return selected


def _shape(var: Any) -> jax.ShapeDtypeStruct:
    return of_shape(var.aval.shape, var.aval.dtype)


def of_shape(shape: tuple[int, ...], dtype: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]
