"""The seconds of a step: of the whole, in parts by layer, and of the optimizer's update."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gradscope.blocks.block import may_be_cut
from gradscope.load.usercode.fault import headline
from gradscope.records.progress import Progress
from gradscope.trace.compiling import NotEnoughMemory
from gradscope.trace.program import Program
from gradscope.workload.account import Account
from gradscope.workload.parts import LayerParts, LayerSeconds
from gradscope.workload.step import WholeStep
from gradscope.workload.timing import Times, empty_call, rounds, seconds_of

WHOLE, PARTS, CALL, UPDATE = "whole", "parts", "call", "update"


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
    program: Program,
    step: WholeStep,
    account: Account,
    update: Callable[[], Any] | None,
    progress: Progress,
) -> StepTimes:
    """All of them in turn, since what else runs on the machine slows down all alike."""
    parts: LayerParts | None = None
    unmeasured = ""
    inputs = step.inputs
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
        compile_s=step.compile_s + (0.0 if parts is None else parts.compile_s),
    )
