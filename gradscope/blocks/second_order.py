"""Products with the Hessian of a loss, block by block; each distinct block is linearized and compiled once.

A block runs forward, `reads -> writes and what backward needs`, and backward, `that and cotangents ->
gradients`. Both are linearized where they are: a product runs the derivative of every forward along the
tangents of the weights, then that of every backward along the tangents of what it was given.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import Any

import jax.numpy as jnp

from gradscope.blocks.block import Block
from gradscope.blocks.linear import LinearizedProgram
from gradscope.blocks.residuals import values_of
from gradscope.blocks.running import differentiated
from gradscope.blocks.step import BlockProgram
from gradscope.trace.compiling import Compiled, compile_parts, compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.statistics import FLOW

Tangents = dict[Any, Any]
"""By variable."""


@dataclass(frozen=True)
class _Part:
    """One block."""

    block: Block
    step: BlockProgram
    ahead: LinearizedProgram
    moves: tuple[bool, ...]
    """Which reads have a tangent."""
    back: LinearizedProgram
    given: tuple[bool, ...]
    """Which arguments of backward have one."""

    @property
    def differentiated(self) -> list[Any]:
        return list(compress(self.block.reads, self.step.moves))

    @property
    def wanted(self) -> list[Any]:
        return list(compress(self.block.writes, self.step.wanted))


class SecondOrder:
    """The first output of a program as a function of its inputs at `moving`."""

    def __init__(self, body: Body, blocks: Sequence[Block], moving: Collection[int], runs: int) -> None:
        """`runs` is how many products are expected."""
        self._body = body
        self._loss = body.jaxpr.outvars[0]
        self.own = [body.jaxpr.invars[place] for place in sorted(moving)]
        self._last = {var: number for number, block in enumerate(blocks) for var in block.reads}
        self._known: dict[Hashable, LinearizedProgram] = {}
        self._pulls: dict[int, Compiled] = {}
        self.parts = self._linearized(blocks)
        self.compile_s = sum(
            compile_parts([(each.requests(runs), each.take) for each in self._known.values()])
        )

    @property
    def kept(self) -> int:
        """Bytes that the derivatives keep at a point."""
        return sum(part.step.kept + part.ahead.kept + part.back.kept for part in self.parts)

    @property
    def distinct(self) -> int:
        """Programs that are linearized: two for each distinct block."""
        return len(self._known)

    def _linearized(self, blocks: Sequence[Block]) -> list[_Part]:
        steps = differentiated(blocks, self.own, self._loss, {}, FLOW)
        moving: set[Any] = set(self.own)
        forward = []
        for block, step in zip(blocks, steps, strict=True):
            moves = tuple(var in moving for var in block.reads)
            ahead = self._one(step, 0, moves)
            writes = zip(block.writes, ahead.reached, strict=False)
            moving |= {var for var, reach in writes if reach}
            forward.append((block, step, ahead, moves))
        returning: set[Any] = set()
        parts = []
        for block, step, ahead, moves in reversed(forward):
            wanted = compress(block.writes, step.wanted)
            given = (
                *values_of(step.residuals, moves, ahead.reached),
                *(var in returning for var in wanted),
            )
            part = _Part(block, step, ahead, moves, self._one(step, 1, given), given)
            pairs = zip(part.differentiated, part.back.reached, strict=True)
            returning |= {var for var, reach in pairs if reach}
            parts.append(part)
        return parts[::-1]

    def _one(self, step: BlockProgram, which: int, moves: tuple[bool, ...]) -> LinearizedProgram:
        key = id(step), which, moves
        if key not in self._known:
            self._known[key] = LinearizedProgram(step.derivative[which], moves)
        return self._known[key]

    def at(self, inputs: Sequence[Any]) -> SecondOrderPoint:
        """The program at its inputs."""
        jaxpr = self._body.jaxpr
        env: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
        env.update(zip(jaxpr.constvars, self._body.consts, strict=True))
        ahead, pulled, back = [], [], []
        for number, part in enumerate(self.parts):
            values = [env[var] for var in part.block.reads]
            found, kept = part.ahead.at(values)
            env.update(zip(part.block.writes, found, strict=False))
            ahead.append(kept)
            pulled.append(values_of(part.step.residuals, values, found))
            for var in part.block.reads:
                if self._last[var] == number and var is not self._loss:
                    env.pop(var)
        loss = env[self._loss]
        cotangents: Tangents = {self._loss: jnp.ones_like(loss)}
        for part, residuals in zip(reversed(self.parts), reversed(pulled), strict=True):
            found, kept = part.back.at([*residuals, *(cotangents[var] for var in part.wanted)])
            back.append(kept)
            reaches = zip(part.differentiated, found, part.step.reached, strict=True)
            _added(cotangents, {var: gradient for var, gradient, reach in reaches if reach})
        gradient = [_or_zeros(cotangents, var) for var in self.own]
        return SecondOrderPoint(self, loss, gradient, ahead, pulled, back[::-1])

    def pull(self, part: _Part, residuals: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        """Backward of one block, plainly; compiled when it is asked for."""
        key = id(part.step)
        if key not in self._pulls:
            back = part.step.derivative[1]
            self._pulls[key] = compile_program(back.function, tuple(back.shapes), runs=1)
            self.compile_s += self._pulls[key].trace_s + self._pulls[key].compile_s
        found: list[Any] = self._pulls[key].start(*residuals, *cotangents)
        return found


@dataclass(frozen=True, eq=False)
class SecondOrderPoint:
    """What is known of a program at its inputs."""

    program: SecondOrder
    loss: Any
    gradient: list[Any]
    _ahead: list[list[Any]]
    _pulled: list[list[Any]]
    _back: list[list[Any]]
    """By block: what the derivatives and backward need."""

    def hessian(self, direction: Sequence[Any]) -> list[Any]:
        """The product with the Hessian, by input that moves."""
        found = self._behind(0, dict(zip(self.program.own, direction, strict=True)))
        return [_or_zeros(found, var) for var in self.program.own]

    def of_outputs(self, first: int, direction: Tangents) -> Tangents:
        """The product with the Hessian of what block `first` and those behind it make of the variables that
        they read; `direction` has all of these that move."""
        return self._behind(first, dict(direction))

    def gauss_newton(self, first: int, direction: Sequence[Any]) -> list[Any]:
        """The product with JᵀHJ: J is the derivative of what the blocks from `first` on read, H the Hessian
        of what they make of it."""
        own = self.program.own
        tangents = dict(zip(own, direction, strict=True))
        for number, part in enumerate(self.program.parts[:first]):
            moved = part.ahead.along(self._ahead[number], _moving(tangents, part))
            tangents.update({part.block.writes[place]: value for place, value in _writes(part, moved)})
        found = self._behind(first, tangents)
        for number in reversed(range(first)):
            part = self.program.parts[number]
            if found.keys().isdisjoint(part.wanted):
                continue
            cotangents = [_or_zeros(found, var) for var in part.wanted]
            pulled = self.program.pull(part, self._pulled[number], cotangents)
            reaches = zip(part.differentiated, pulled, part.step.reached, strict=True)
            _added(found, {var: gradient for var, gradient, reach in reaches if reach})
        return [_or_zeros(found, var) for var in own]

    def _behind(self, first: int, tangents: Tangents) -> Tangents:
        """Of blocks from `first` on: by variable that they read the tangent of its cotangent."""
        parts = list(enumerate(self.program.parts))[first:]
        given: list[list[Any]] = []
        for number, part in parts:
            moving = _moving(tangents, part)
            moved = part.ahead.along(self._ahead[number], moving)
            tangents.update({part.block.writes[place]: value for place, value in _writes(part, moved)})
            reads = dict(zip(_places(part.moves), moving, strict=True))
            arguments = [reads.get(place) for place in range(len(part.moves))]
            results = [moved.get(place) for place in range(len(part.ahead.reached))]
            given.append(values_of(part.step.residuals, arguments, results))
        found: Tangents = {}
        for (number, part), residuals in zip(reversed(parts), reversed(given), strict=True):
            arguments = [*residuals, *(found.get(var) for var in part.wanted)]
            moved = part.back.along(self._back[number], list(compress(arguments, part.given)))
            reads = {part.differentiated[place]: value for place, value in moved.items()}
            _added(found, reads)
        return found


def _places(flags: Sequence[bool]) -> list[int]:
    return [place for place, flag in enumerate(flags) if flag]


def _moving(tangents: Tangents, part: _Part) -> list[Any]:
    return [tangents[var] for var in compress(part.block.reads, part.moves)]


def _writes(part: _Part, moved: dict[int, Any]) -> list[tuple[int, Any]]:
    return [(place, value) for place, value in moved.items() if place < len(part.block.writes)]


def _added(sums: Tangents, more: Tangents) -> None:
    for var, value in more.items():
        sums[var] = sums[var] + value if var in sums else value


def _or_zeros(values: Tangents, var: Any) -> Any:
    return values[var] if var in values else jnp.zeros(var.aval.shape, var.aval.dtype)
