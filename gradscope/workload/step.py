"""The loss and its gradient, compiled: as one program, or in blocks where that would take long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from gradscope.blocks.block import LONG, blocks_where_it_pays
from gradscope.blocks.running import Blockwise, all_of_it
from gradscope.footprint.account import gradient_of
from gradscope.records import CompilerCost
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import Plan
from gradscope.workload.account import Account
from gradscope.workload.timing import OFTEN
from gradscope.workload.walking import steps


def is_short(body: Body) -> bool:
    """Whether the whole compiles quickly."""
    return sum(1 for _ in steps(body)) < LONG


class WholeStep:
    """Of a program, or of its loss at other shapes."""

    def __init__(self, program: Program, body: Body, inputs: Inputs, *, as_one: bool) -> None:
        weights, others = on_device(inputs.weights), on_device(inputs.others)
        self.inputs, self._body = Inputs(weights, others), body
        self._start: Callable[[], Any]
        self._executable: Any = None
        blocks = [] if as_one else blocks_where_it_pays(body, Plan(), (weights, others))
        self.blocks = len(blocks)
        """In which it runs; 0 where it is one program."""
        arguments = sum(int(value.size) * value.dtype.itemsize for value in (*weights, *others))
        if blocks:
            blockwise = Blockwise(replace(program, body=body, plan=Plan(), sites=()), blocks, runs=OFTEN)
            self.compile_s = blockwise.compile_s
            self._start = lambda: blockwise(weights, {}, others, body.consts, all_of_it)
            self.peak = 2 * arguments + sum(each.kept for each in blockwise.steps)
            """[bytes] roughly."""
        else:
            whole = compile_program(gradient_of(body), (weights, others), runs=OFTEN)
            self.compile_s, self._executable = whole.compile_s, whole.executable
            self._start = lambda: whole.start(weights, others)
            found = whole.executable.memory_analysis()
            sizes = found.argument_size_in_bytes, found.output_size_in_bytes, found.temp_size_in_bytes
            self.peak = int(sum(sizes))

    def start(self) -> Any:
        return self._start()

    def compiler_cost(self, account: Account) -> CompilerCost | None:
        """XLA's own count beside that of the program."""
        arguments = self.inputs.weights, self.inputs.others
        given = _analysis(jax.jit(gradient_of(self._body)).lower(*arguments))
        found = {} if self._executable is None else _analysis(self._executable)
        if "flops" not in given:
            return None
        written = account.written
        return CompilerCost(
            given=given["flops"] + given.get("transcendentals", 0.0),
            compiled=found["flops"] + found.get("transcendentals", 0.0) if "flops" in found else None,
            size=found.get("bytes accessed"),
            counted=written.operations,
        )


def on_device(values: Sequence[Any]) -> list[Any]:
    """As they are while a network trains: not copied from the host at each step."""
    return [jnp.asarray(value) for value in values]


def _analysis(stage: Any) -> dict[str, float]:
    """XLA's cost analysis of a lowered or a compiled program; empty where a backend has none."""
    found = stage.cost_analysis()
    found = found[0] if isinstance(found, list | tuple) and found else found
    return {name: float(value) for name, value in (found or {}).items()}
