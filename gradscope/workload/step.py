"""The loss and its gradient as they are timed: in blocks where the program repeats, else as one program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gradscope.blocks.block import blocks_where_it_pays
from gradscope.blocks.running import Blockwise, all_of_it
from gradscope.footprint.account import gradient_of
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Program
from gradscope.trace.sites import Plan
from gradscope.workload.timing import OFTEN


def compiled_step(
    program: Program, body: Body, weights: Sequence[Any], others: Sequence[Any]
) -> Callable[[], Any]:
    """Runs the loss `body`, which is that of `program` at other shapes, and its gradient."""
    blocks = blocks_where_it_pays(body, Plan(), (weights, others))
    if not blocks:
        whole = compile_program(gradient_of(body), (list(weights), list(others)), runs=OFTEN)
        return lambda: whole.start(list(weights), list(others))
    plain = replace(program, body=body, plan=Plan(), sites=())
    blockwise = Blockwise(plain, blocks, runs=OFTEN)
    return lambda: blockwise(weights, {}, others, body.consts, all_of_it)
