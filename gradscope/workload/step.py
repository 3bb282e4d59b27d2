"""The loss and its gradient as they are timed at other sizes.

As one program where it is short, as the whole at the size at hand is; else in blocks, since it is compiled
for each size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from gradscope.blocks.block import LONG, blocks_where_it_pays
from gradscope.blocks.running import Blockwise, all_of_it
from gradscope.footprint.account import gradient_of
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Program
from gradscope.trace.sites import Plan
from gradscope.workload.timing import OFTEN
from gradscope.workload.walking import steps


def is_short(body: Body) -> bool:
    """Whether the whole compiles quickly."""
    return sum(1 for _ in steps(body)) < LONG


def compiled_step(
    program: Program, body: Body, weights: Sequence[Any], others: Sequence[Any]
) -> Callable[[], Any]:
    """Runs the loss `body`, which is that of `program` at other shapes, and its gradient."""
    blocks = [] if is_short(body) else blocks_where_it_pays(body, Plan(), (weights, others))
    if not blocks:
        compiled = compile_program(gradient_of(body), (list(weights), list(others)), runs=OFTEN)
        return lambda: compiled.start(list(weights), list(others))
    plain = replace(program, body=body, plan=Plan(), sites=())
    blockwise = Blockwise(plain, blocks, runs=OFTEN)
    return lambda: blockwise(weights, {}, others, body.consts, all_of_it)
