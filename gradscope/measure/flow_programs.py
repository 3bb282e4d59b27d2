"""How one step of the flow pass runs: as one compiled program, or block by block.

Both give the same numbers. One program is compiled in a time that grows faster than its length, so where
blocks of it are equal, or it is long, each distinct block is compiled once (`gradscope.blocks`).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array
from jax.errors import JaxRuntimeError

from gradscope.blocks.block import Block, blocks_where_it_pays
from gradscope.blocks.running import Blockwise, Keep, all_of_it
from gradscope.measure.leaf_statistics import GRADIENT, LeafStatistics
from gradscope.trace.compiling import (
    Compiled,
    NotEnoughMemory,
    Plain,
    Request,
    compile_program,
    users_errors,
)
from gradscope.trace.optimization import FEW_RUNS
from gradscope.trace.program import Program
from gradscope.trace.spread import placed_as
from gradscope.trace.statistics import Selection

Raw = tuple[Any, Any, Any, Any]
"""The loss; what was found by site and probe; δ by site; by leaf the statistics of the gradient, of a small
leaf the array itself."""


@dataclass(frozen=True, eq=False)
class Step:
    """What one step of the flow pass measures."""

    program: Program
    leaves: LeafStatistics
    selection: Selection
    gradients: bool = False
    """Large gradients are handed out, too."""
    work: float = 0.0
    """Of all runs, in operations."""

    def __call__(
        self,
        weights: list[Array],
        gains: dict[int, Array],
        leaf_gains: dict[int, Array],
        others: list[Array],
        consts: list[Array],
    ) -> tuple[Raw, list[Array]]:
        """Traceable: what is measured, and the gradients where they are handed out."""

        def tapped(weights: list[Array], sinks: Any) -> Any:
            return self.program.tapped(weights, sinks, gains, others, consts, self.selection)

        both = jax.value_and_grad(tapped, argnums=(0, 1), has_aux=True)
        (loss, forward), (gradients, delta) = both(weights, self.program.sinks(self.selection))
        reduced = self.leaves.reduced(gradients, leaf_gains, GRADIENT)
        return (loss, forward, delta, reduced), gradients if self.gradients else []


class Whole:
    """One compiled program."""

    def __init__(self, step: Step, arguments: tuple[Any, ...], runs: int, plain: Plain | None = None) -> None:
        self._step = step
        self._gradient: Compiled | None = None

        def placed(*given: Any) -> tuple[Raw, list[Array]]:
            raw, gradients = step(*given)
            return raw, placed_as(gradients, arguments[0]) if gradients else []

        self._compiled: Compiled = compile_program(placed, arguments, runs=runs, work=step.work, plain=plain)
        self.trace_s, self.compile_s = self._compiled.trace_s, self._compiled.compile_s

    @property
    def identity(self) -> Hashable:
        """Equal for two programs only if they are one."""
        return id(self._compiled.executable)

    @property
    def blocks(self) -> tuple[int, int]:
        """How many, and how many of them are distinct; none, for it is one program."""
        return 0, 0

    @property
    def executables(self) -> tuple[Any, ...]:
        return (self._compiled.executable,)

    def __call__(self, *arguments: Any) -> tuple[Raw, list[Any] | None]:
        """What is measured, and the gradients where the pass hands them out."""
        raw, gradients = self._compiled(*arguments)
        if not gradients and not self._step.leaves.gains():
            gradients = raw[3]
        return raw, gradients or None

    def loss(self, weights: list[Any], others: list[Any], consts: list[Any]) -> Any:
        return self.loss_and_gradients(weights, others, consts, all_of_it)[0]

    def loss_and_gradients(
        self, weights: list[Any], others: list[Any], consts: list[Any], keep: Keep
    ) -> tuple[Any, list[Any]]:
        """By leaf. Where the pass does not hand them out, another program is compiled when asked for."""
        step, arguments = self._step, (weights, others, consts)
        program, leaf_gains = step.program, step.leaves.gains()
        if step.gradients or not leaf_gains:
            raw, gradients = self(weights, program.gains(), leaf_gains, others, consts)
            loss, gradients = raw[0], gradients or []
        else:
            if self._gradient is None:

                def placed(weights: list[Any], others: list[Any], consts: list[Any]) -> Any:
                    loss, gradients = jax.value_and_grad(program.loss)(weights, others, consts)
                    return loss, placed_as(gradients, arguments[0])

                self._gradient = compile_program(placed, arguments, runs=1)
            loss, gradients = self._gradient(*arguments)
        return loss, [keep(leaf, gradient) for leaf, gradient in enumerate(gradients)]


class InBlocks:
    """A compiled program for each distinct block, and one for each distinct shape of a large leaf."""

    def __init__(self, step: Step, blocks: Sequence[Block], arguments: tuple[Any, ...], runs: int) -> None:
        """Raises what JAX raises at a block, as it is."""
        self._step = step
        weights, _, leaf_gains, _, _ = arguments
        kinds = {step.leaves.kind(leaf): leaf for leaf in reversed(leaf_gains)}
        reducers = [
            Request(step.leaves.reducer(leaf, GRADIENT), (weights[leaf], leaf_gains[leaf]), runs=runs)
            for leaf in kinds.values()
        ]
        self._leaves: dict[Hashable, Compiled] = {}

        def take(compiled: Sequence[Compiled]) -> None:
            self._leaves = dict(zip(kinds, compiled, strict=True))

        self._blocks = Blockwise(
            step.program,
            blocks,
            runs=runs,
            work=step.work,
            selection=step.selection,
            beside=[(reducers, take)],
        )
        self.trace_s, self.compile_s = self._blocks.trace_s, self._blocks.compile_s

    @property
    def identity(self) -> Hashable:
        """Equal for two programs only if they are one."""
        return self._blocks.wiring, tuple(id(executable) for executable in self.executables)

    @property
    def blocks(self) -> tuple[int, int]:
        """How many, and how many of them are distinct."""
        return len(self._blocks.blocks), len(self._blocks.distinct)

    @property
    def executables(self) -> tuple[Any, ...]:
        return self._blocks.executables

    def __call__(
        self,
        weights: list[Any],
        gains: dict[int, Any],
        leaf_gains: dict[int, Any],
        others: list[Any],
        consts: list[Any],
    ) -> tuple[Raw, list[Any] | None]:
        """What is measured, and the gradients where the pass hands them out."""

        def reduce(leaf: int, gradient: Any) -> Any:
            reduced = gradient
            if leaf in leaf_gains:
                reduced = self._leaves[self._step.leaves.kind(leaf)].start(gradient, leaf_gains[leaf])
            return reduced, gradient if self._step.gradients else None

        loss, forward, delta, found = self._blocks(weights, gains, others, consts, reduce)
        raw: Raw = jax.block_until_ready((loss, forward, delta, [reduced for reduced, _ in found]))  # type: ignore[no-untyped-call]
        return raw, [gradient for _, gradient in found] if self._step.gradients else None

    def loss(self, weights: list[Any], others: list[Any], consts: list[Any]) -> Any:
        return self._blocks.loss(weights, self._step.program.gains(), others, consts)

    def loss_and_gradients(
        self, weights: list[Any], others: list[Any], consts: list[Any], keep: Keep
    ) -> tuple[Any, list[Any]]:
        """By leaf, each gone as soon as what is kept of it is there."""
        loss, _, _, found = self._blocks(weights, self._step.program.gains(), others, consts, keep)
        return loss, found


def compiled_step(
    step: Step, arguments: tuple[Any, ...], runs: int, plain: Plain | None = None
) -> Whole | InBlocks:
    """The step, compiled for the number of times that it will run; `plain` as for `compile_program`.

    Where the compiler or the memory fails at a block, it is one program.
    """
    program = step.program
    blocks = blocks_where_it_pays(program.body, program.plan, arguments) if runs <= FEW_RUNS else []
    if blocks:
        with suppress(JaxRuntimeError, NotEnoughMemory), users_errors("differentiating the loss", plain):
            return InBlocks(step, blocks, arguments, runs)
    return Whole(step, arguments, runs, plain)
