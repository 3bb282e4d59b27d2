"""Runs a program forward alone, block by block; each distinct block is compiled once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from gradscope.blocks.block import Block, blocks_where_it_pays
from gradscope.blocks.step import of_shape
from gradscope.trace.compiling import Compiled, compile_program
from gradscope.trace.interpret import Taps, evaluate
from gradscope.trace.jaxprs import Body, is_literal
from gradscope.trace.sites import Plan

Run = Callable[[Sequence[Any]], list[Any]]
"""From the inputs of the program to its outputs."""


def compile_forward(body: Body, inputs: Sequence[Any], runs: int) -> Run:
    """The program for these inputs: in blocks, or as one where cutting it saves little."""
    blocks = blocks_where_it_pays(body, Plan(), inputs, outputs=None)
    if blocks:
        return _InBlocks(body, blocks, runs)
    whole = compile_program(lambda *values: _outputs(body, values), tuple(inputs), runs=runs)
    return lambda inputs: whole.start(*inputs)


class _InBlocks:
    def __init__(self, body: Body, blocks: Sequence[Block], runs: int) -> None:
        self._body, self._blocks = body, blocks
        self._outputs = {each for each in body.jaxpr.outvars if not is_literal(each)}
        self._last = {var: number for number, block in enumerate(blocks) for var in block.reads}
        self._programs: dict[Hashable, Compiled] = {}
        for block in blocks:
            if block.key not in self._programs:
                self._programs[block.key] = _compiled(block, runs)

    def __call__(self, inputs: Sequence[Any]) -> list[Any]:
        jaxpr = self._body.jaxpr
        env: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
        env.update(zip(jaxpr.constvars, self._body.consts, strict=True))
        for number, block in enumerate(self._blocks):
            found = self._programs[block.key].start(*(env[var] for var in block.reads))
            env.update(zip(block.writes, found, strict=True))
            for var in block.reads:
                if self._last[var] == number and var not in self._outputs:
                    env.pop(var)
        return [each.val if is_literal(each) else env[each] for each in jaxpr.outvars]


def _compiled(block: Block, runs: int) -> Compiled:
    shapes = tuple(of_shape(var.aval.shape, var.aval.dtype) for var in block.reads)  # type: ignore[attr-defined]
    return compile_program(lambda *values: _outputs(block.body, values), shapes, runs=runs)


def _outputs(body: Body, values: Sequence[Any]) -> list[Any]:
    return evaluate(body, values, Plan(), Taps({}))
