"""Runs a program forward alone, block by block; each distinct block is compiled once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from gradscope.blocks.block import Block, blocks_where_it_pays
from gradscope.blocks.step import of_shape
from gradscope.trace.compiling import Compiled, Request, compile_program, compile_programs
from gradscope.trace.interpret import Taps, evaluate
from gradscope.trace.jaxprs import Body, is_literal
from gradscope.trace.sites import Plan

Run = Callable[[Sequence[Any]], list[Any]]
"""From the inputs of the program to those outputs that were asked for."""


def compile_forward(body: Body, inputs: Sequence[Any], runs: int, outputs: int | None = 1) -> Run:
    """The program for these inputs: in blocks, or as one where cutting it saves little. It gives its first
    outputs, by default one, and with `None` all."""
    blocks = blocks_where_it_pays(body, Plan(), inputs, outputs=outputs)
    if blocks:
        return _InBlocks(body, blocks, runs, outputs)
    whole = compile_program(lambda *values: _outputs(body, values)[:outputs], tuple(inputs), runs=runs)
    return lambda inputs: whole.start(*inputs)


class _InBlocks:
    def __init__(self, body: Body, blocks: Sequence[Block], runs: int, outputs: int | None) -> None:
        self._body, self._blocks = body, blocks
        self._outputs = list(body.jaxpr.outvars[:outputs])
        kept = {each for each in self._outputs if not is_literal(each)}
        last = {var: number for number, block in enumerate(blocks) for var in block.reads if var not in kept}
        self._last = last
        distinct = {block.key: block for block in reversed(blocks)}
        compiled = compile_programs([_request(block, runs) for block in distinct.values()])
        self._programs: dict[Hashable, Compiled] = dict(zip(distinct, compiled, strict=True))

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        jaxpr = self._body.jaxpr
        env: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
        env.update(zip(jaxpr.constvars, self._body.consts, strict=True))
        for number, block in enumerate(self._blocks):
            found = self._programs[block.key].start(*(env[var] for var in block.reads))
            env.update(zip(block.writes, found, strict=True))
            for var in block.reads:
                if self._last.get(var) == number:
                    env.pop(var)
        return [each.val if is_literal(each) else env[each] for each in self._outputs]


def _request(block: Block, runs: int) -> Request:
    shapes = tuple(of_shape(var.aval.shape, var.aval.dtype) for var in block.reads)  # type: ignore[attr-defined]
    return Request(lambda *values: _outputs(block.body, values), shapes, runs=runs)


def _outputs(body: Body, values: Sequence[Any]) -> list[Any]:
    return evaluate(body, values, Plan(), Taps({}))
