"""Seconds by layer: the loss is cut where another layer begins, and each part is run and timed by itself."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from gradscope.blocks.block import Block, blocks_by, blocks_of
from gradscope.blocks.running import Blockwise
from gradscope.footprint.origins import Spotted
from gradscope.trace import jaxprs
from gradscope.trace.nested.registry import called_in_place
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import Plan
from gradscope.workload.account import Account, Both, container
from gradscope.workload.timing import OFTEN, finish

MOST_PARTS = 600
"""Beyond it the program is cut where it repeats: a loop over layers that Python has written out."""
Shares = dict[str | None, float]
Pass = tuple[list[float], list[float]]
"""Seconds of each part, forward and backward."""


@dataclass
class LayerSeconds:
    forward: float = 0.0
    backward: float = 0.0
    estimated: bool = False


class LayerParts:
    """The parts of a loss, compiled; equal ones once."""

    def __init__(self, program: Program, account: Account, inputs: Inputs) -> None:
        self._account, self._inputs = account, inputs
        written = jaxprs.written_out(program.body, called_in_place)
        self._origins = {key: Spotted(*origin) for key, origin in written.origins.items()}
        found = blocks_by(written.body, self._label)
        blocks = [block for _, block in found]
        if len(blocks) > MOST_PARTS:
            blocks = blocks_of(written.body, Plan())
        plain = replace(program, body=written.body, plan=Plan(), sites=())
        self._blockwise = Blockwise(plain, blocks, runs=OFTEN)
        self._body = written.body
        self.compile_s = self._blockwise.compile_s
        self.count = len(blocks)

    def _label(self, eqn: JaxprEqn) -> Hashable:
        """The layer, or the equation itself where several layers are in it."""
        spot = self._origins[id(eqn)]
        layers = self._account.layers_in(spot)
        return next(iter(layers)) if len(layers) == 1 else container(spot)

    def seconds(self, passes: Sequence[Pass]) -> dict[str | None, LayerSeconds]:
        """By layer: the median of each part. Of a part with several layers each gets the share of its
        operations."""
        found: dict[str | None, LayerSeconds] = {}
        for number, block in enumerate(self._blockwise.blocks):
            forward, backward = (
                statistics.median(taken[half][number] for taken in passes) for half in (0, 1)
            )
            ahead, back = self._shares(block)
            for layer in {*ahead, *back}:
                row = found.setdefault(layer, LayerSeconds())
                row.forward += forward * ahead.get(layer, 0.0)
                row.backward += backward * back.get(layer, 0.0)
                row.estimated |= len({*ahead, *back}) > 1
        return found

    def _shares(self, block: Block) -> tuple[Shares, Shares]:
        """Of each layer in the operations of a part, forward and backward."""
        both: dict[str | None, Both] = {}
        for place in dict.fromkeys(map(self._container, block.body.eqns)):
            for layer, cost in self._account.inside.get(place, {}).items():
                row = both.setdefault(layer, Both())
                row.forward.add(cost.forward)
                row.backward.add(cost.backward)
        if not any(cost.operations for cost in both.values()):
            layers = self._account.layers_in(self._origins[id(block.body.eqns[0])])
            one = {next(iter(layers)): 1.0}
            return one, one
        halves = [
            {layer: getattr(cost, half).operations for layer, cost in both.items()}
            for half in ("forward", "backward")
        ]
        either = {layer: cost.operations for layer, cost in both.items()}
        ahead, back = (_normalized(half) or _normalized(either) for half in halves)
        return ahead, back

    def _container(self, eqn: JaxprEqn) -> Any:
        return container(self._origins[id(eqn)])

    @property
    def programs(self) -> int:
        """How many of them are distinct."""
        return len(self._blockwise.distinct)

    def run(self) -> Pass:
        """Every part once, each to its end."""
        loss, tape, forward = self._forward()
        return forward, self._backward(loss, tape)

    def _forward(self) -> tuple[Any, list[list[Any]], list[float]]:
        jaxpr, blocks = self._body.jaxpr, self._blockwise.blocks
        given = [*self._inputs.weights, *self._inputs.others]
        env: dict[Any, Any] = dict(zip(jaxpr.invars, given, strict=True))
        env.update(zip(jaxpr.constvars, self._body.consts, strict=True))
        last = {var: number for number, block in enumerate(blocks) for var in block.reads}
        seconds, tape = list[float](), list[list[Any]]()
        for number, (block, program) in enumerate(zip(blocks, self._blockwise.steps, strict=True)):
            values = [env[var] for var in block.reads]
            start = perf_counter()
            found = program.forward(values, [])
            finish((found.writes, found.residuals))
            seconds.append(perf_counter() - start)
            env.update(zip(block.writes, found.writes, strict=True))
            tape.append(found.residuals)
            for var in block.reads:
                if last[var] == number:
                    env.pop(var)
        return env[jaxpr.outvars[0]], tape, seconds

    def _backward(self, loss: Any, tape: list[list[Any]]) -> list[float]:
        blocks = self._blockwise.blocks
        cotangents: dict[Any, Any] = {self._body.jaxpr.outvars[0]: jnp.ones_like(loss)}
        seconds = [0.0] * len(blocks)
        for number in reversed(range(len(blocks))):
            block, program, kept = blocks[number], self._blockwise.steps[number], tape.pop()
            if not program.has_backward:
                continue
            wanted = [var for var, asked in zip(block.writes, program.wanted, strict=True) if asked]
            given = [cotangents.pop(var) for var in wanted]
            moving = [var for var, moves in zip(block.reads, program.moves, strict=True) if moves]
            start = perf_counter()
            gradients, _ = program.backward(kept, given)
            for var, gradient, reached in zip(moving, gradients, program.reached, strict=True):
                if reached:
                    cotangents[var] = cotangents[var] + gradient if var in cotangents else gradient
            finish([cotangents[var] for var in moving if var in cotangents])
            seconds[number] = perf_counter() - start
        return seconds


def _normalized(amounts: Shares) -> Shares:
    whole = sum(amounts.values())
    return {layer: amount / whole for layer, amount in amounts.items()} if whole else {}
