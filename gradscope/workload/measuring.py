"""The seconds of a step: as one compiled program, in parts by layer, and of the optimizer's update."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from gradscope.blocks.block import may_be_cut
from gradscope.footprint.account import gradient_of
from gradscope.load.usercode.fault import headline
from gradscope.records import CompilerCost
from gradscope.records.progress import Progress
from gradscope.trace.compiling import Compiled, NotEnoughMemory, compile_program
from gradscope.trace.program import Inputs, Program
from gradscope.workload.account import Account
from gradscope.workload.parts import LayerParts, LayerSeconds
from gradscope.workload.timing import OFTEN, Times, empty_call, rounds, seconds_of

WHOLE, PARTS, CALL, UPDATE = "whole", "parts", "call", "update"


def on_device(values: Sequence[Any]) -> list[Any]:
    """As they are while a network trains: not copied from the host at each step."""
    return [jnp.asarray(value) for value in values]


class WholeStep:
    """The loss and its gradient as one compiled program."""

    def __init__(self, program: Program, inputs: Inputs) -> None:
        self.program = program
        self.inputs = Inputs(on_device(inputs.weights), on_device(inputs.others))
        self.compiled: Compiled = compile_program(
            gradient_of(program.body),
            (self.inputs.weights, self.inputs.others),
            runs=OFTEN,
            keep_lowered=True,
        )

    def start(self) -> Any:
        return self.compiled.start(self.inputs.weights, self.inputs.others)

    @property
    def peak(self) -> int:
        """[bytes] by XLA."""
        found = self.compiled.executable.memory_analysis()
        sizes = found.argument_size_in_bytes, found.output_size_in_bytes, found.temp_size_in_bytes
        return int(sum(sizes))

    def compiler_cost(self, account: Account) -> CompilerCost | None:
        """XLA's own count beside that of the program."""
        found, given = _analysis(self.compiled.executable), _analysis(self.compiled.lowered)
        if "flops" not in found:
            return None
        written = account.written
        return CompilerCost(
            operations=float(found["flops"]),
            transcendental=float(found.get("transcendentals", 0.0)),
            size=float(found.get("bytes accessed", 0.0)),
            counted=written.operations - written.transcendental,
            counted_transcendental=written.transcendental,
            given=given["flops"] + given.get("transcendentals", 0.0) if "flops" in given else None,
        )


def _analysis(stage: Any) -> dict[str, float]:
    """XLA's cost analysis of a lowered or a compiled program; empty where a backend has none."""
    found = stage.cost_analysis()
    found = found[0] if isinstance(found, list | tuple) and found else found
    return {name: float(value) for name, value in (found or {}).items()}


@dataclass(frozen=True)
class StepTimes:
    whole: Times
    layers: dict[str | None, LayerSeconds]
    parts: int
    call_s: float
    update_s: float | None
    unmeasured: str
    """Why there are no seconds by layer, where there are none."""
    compile_s: float


def measured(
    step: WholeStep, account: Account, update: Callable[[], Any] | None, progress: Progress
) -> StepTimes:
    """All of them in turn, since what else runs on the machine slows down all alike."""
    parts: LayerParts | None = None
    unmeasured = ""
    program, inputs = step.program, step.inputs
    if may_be_cut(program.body, (inputs.weights, inputs.others)):
        progress("compiling the layers")
        try:
            parts = LayerParts(program, account, inputs)
            parts.run()
        except NotEnoughMemory as error:
            parts, unmeasured = None, error.what.rstrip(".")
        except Exception as error:
            parts, unmeasured = None, f"gradscope itself failed there ({headline(error)})"
    else:
        unmeasured = (
            "the loss cannot be cut: it lies on several devices, calls back into Python or has effects"
        )
    runs: dict[str, Callable[[], Any]] = {WHOLE: seconds_of(step.start), CALL: empty_call()}
    if parts is not None:
        runs[PARTS] = parts.run
    if update is not None:
        runs[UPDATE] = seconds_of(update)
    progress("timing the layers")
    found = rounds(runs)
    return StepTimes(
        whole=Times.of(found[WHOLE]),
        layers={} if parts is None else parts.seconds(found[PARTS]),
        parts=0 if parts is None else parts.count,
        call_s=statistics.median(found[CALL]),
        update_s=statistics.median(found[UPDATE]) if update is not None else None,
        unmeasured=unmeasured,
        compile_s=step.compiled.compile_s + (0.0 if parts is None else parts.compile_s),
    )
