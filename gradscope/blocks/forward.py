"""Runs a program forward alone, block by block; each distinct block is compiled once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from gradscope.blocks.block import Block, blocks_where_it_pays
from gradscope.blocks.step import of_shape
from gradscope.trace.compiling import Compiled, Request, compile_program, compile_programs
from gradscope.trace.interpret import Found, Slot, Taps, evaluate
from gradscope.trace.jaxprs import Body, is_literal
from gradscope.trace.program import Program
from gradscope.trace.sites import Plan
from gradscope.trace.statistics import Selection, Statistic

Run = Callable[[Sequence[Any]], list[Any]]
"""From the inputs of the program to those outputs that were asked for."""
Watched = Callable[[Sequence[Any]], dict[int, Found]]
"""From the inputs of the program to what was found at each site and of each probe."""


def compile_forward(body: Body, inputs: Sequence[Any], runs: int, outputs: int | None = 1) -> Run:
    """The program for these inputs: in blocks, or as one where cutting it saves little. It gives its first
    outputs, by default one, and with `None` all."""
    blocks = blocks_where_it_pays(body, Plan(), inputs, outputs=outputs)
    if blocks:
        in_blocks = _InBlocks(body, blocks, runs, outputs)
        return lambda inputs: in_blocks(inputs)[0]
    whole = compile_program(lambda *values: _run(body, Plan(), values)[0][:outputs], tuple(inputs), runs=runs)
    return lambda inputs: whole.start(*inputs)


def compile_watched(
    program: Program, inputs: Sequence[Any], taken: tuple[Statistic, ...], runs: int
) -> Watched:
    """The statistics `taken` of the value at each site of a program, for these inputs: in blocks or as one.
    Of the program runs what a site or a probe depends on."""
    body, plan, gains = program.body, program.plan, program.gains()
    blocks = blocks_where_it_pays(body, plan, inputs, outputs=0)
    if blocks:
        in_blocks = _InBlocks(body, blocks, runs, 0, gains, taken)
        return lambda inputs: in_blocks(inputs)[1]

    def measured(values: Sequence[Any], consts: Sequence[Any]) -> dict[int, Found]:
        return _run(Body(body.jaxpr, list(consts)), plan, values, gains, taken)[1]

    whole = compile_program(measured, (list(inputs), list(body.consts)), runs=runs)
    return lambda inputs: whole.start(list(inputs), list(body.consts))


class _InBlocks:
    def __init__(
        self,
        body: Body,
        blocks: Sequence[Block],
        runs: int,
        outputs: int | None,
        gains: Mapping[int, Any] | None = None,
        taken: tuple[Statistic, ...] = (),
    ) -> None:
        """`gains` are those of each site, where the blocks have taps."""
        self._body, self._blocks, self._gains = body, blocks, gains or {}
        self._outputs = list(body.jaxpr.outvars[:outputs])
        kept = {each for each in self._outputs if not is_literal(each)}
        last = {var: number for number, block in enumerate(blocks) for var in block.reads if var not in kept}
        self._last = last
        distinct = {block.key: block for block in reversed(blocks)}
        compiled = compile_programs([self._request(block, taken, runs) for block in distinct.values()])
        self._programs: dict[Hashable, Compiled] = dict(zip(distinct, compiled, strict=True))

    def __call__(self, inputs: Sequence[Any]) -> tuple[list[Any], dict[int, Found]]:
        jaxpr = self._body.jaxpr
        env: dict[Any, Any] = dict(zip(jaxpr.invars, inputs, strict=True))
        env.update(zip(jaxpr.constvars, self._body.consts, strict=True))
        found: dict[int, Found] = {}
        for number, block in enumerate(self._blocks):
            values, gains = [env[var] for var in block.reads], self._gains_of(block)
            writes, statistics = self._programs[block.key].start(values, gains)
            env.update(zip(block.writes, writes, strict=True))
            found.update(zip(block.names, statistics, strict=True))
            for var in block.reads:
                if self._last.get(var) == number:
                    env.pop(var)
        return [each.val if is_literal(each) else env[each] for each in self._outputs], found

    def _request(self, block: Block, taken: tuple[Statistic, ...], runs: int) -> Request:
        def run(values: list[Any], gains: list[Any]) -> tuple[list[Any], list[Found]]:
            sited = {site.id: gain for site, gain in zip(block.sites, gains, strict=True)}
            writes, found = _run(block.body, block.plan, values, sited, taken)
            return writes, [found[name] for name in block.names]

        shapes = [of_shape(var.aval.shape, var.aval.dtype) for var in block.reads]  # type: ignore[attr-defined]
        return Request(run, (shapes, self._gains_of(block)), runs=runs)

    def _gains_of(self, block: Block) -> list[Any]:
        return [self._gains[site.id] for site in block.sites]


def _run(
    body: Body,
    plan: Plan,
    values: Sequence[Any],
    gains: Mapping[int, Any] | None = None,
    taken: tuple[Statistic, ...] = (),
) -> tuple[list[Any], dict[int, Found]]:
    """The outputs, and what is found on the way; no site is asked for its δ."""
    slots = {site: Slot({}, gain) for site, gain in (gains or {}).items()}
    taps = Taps(slots, Selection(value=taken, delta=()))
    return evaluate(body, values, plan, taps), taps.forward
