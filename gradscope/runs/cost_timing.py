"""The seconds of a step, set beside its operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradscope.records import Cost, LayerCost, Skipped
from gradscope.records.progress import Progress

if TYPE_CHECKING:
    from gradscope.load.usercode.fault import Looks
    from gradscope.trace.program import Inputs, Program
    from gradscope.workload.account import Account
    from gradscope.workload.measuring import StepTimes
    from gradscope.workload.step import WholeStep
    from gradscope.workload.update import Update

SECONDS, UPDATE = "seconds by layer", "the update of the optimizer"


def timed(
    found: Cost,
    program: Program,
    inputs: Inputs,
    account: Account,
    update: Update | None,
    looks: Looks,
    skipped: list[Skipped],
    progress: Progress,
    *,
    whole: bool,
) -> tuple[Cost, WholeStep | None, float]:
    from gradscope.trace.compiling import NotEnoughMemory
    from gradscope.workload.measuring import measured
    from gradscope.workload.step import WholeStep, is_short

    progress("compiling")
    try:
        as_one = whole or is_short(program.body)
        step = WholeStep(program, program.body, inputs, as_one=as_one)
        found = replace(found, compiled=step.compiler_cost(account), blocks=step.blocks)
        run = None
        if update is not None and update.effects:
            skipped.append(Skipped(f"seconds of {UPDATE}", "it does something beside its results"))
        elif update is not None:
            run = looks.taken(UPDATE, lambda: _compiled_update(update, step), None)
        times = measured(program, step, account, run, progress)
    except NotEnoughMemory as error:
        skipped.append(Skipped("seconds", error.what.rstrip(".")))
        return found, None, 0.0
    if times.unmeasured:
        skipped.append(Skipped(SECONDS, times.unmeasured))
    return _with_seconds(found, times), step, times.compile_s


def _compiled_update(update: Update, step: WholeStep) -> Callable[[], Any]:
    import jax

    from gradscope.workload.update import compiled_update

    state = jax.tree.map(lambda leaf: jax.numpy.zeros(leaf.shape, leaf.dtype), update.state)
    return compiled_update(update, step.inputs.weights, state)


def _with_seconds(found: Cost, times: StepTimes) -> Cost:
    update = found.update
    return replace(
        found,
        layers=tuple(_layers_with_seconds(found.layers, times)),
        whole_s=times.whole.median,
        low_s=times.whole.low,
        high_s=times.whole.high,
        parts=times.parts,
        call_s=times.call_s,
        update=None if update is None else replace(update, seconds=times.update_s),
    )


def _layers_with_seconds(layers: Sequence[LayerCost], times: StepTimes) -> list[LayerCost]:
    found = []
    for layer in layers:
        seconds = times.layers.get(layer.name)
        if seconds is not None:
            forward = replace(layer.forward, seconds=seconds.forward)
            backward = replace(layer.backward, seconds=seconds.backward)
            layer = replace(layer, forward=forward, backward=backward, estimated=seconds.estimated)
        found.append(layer)
    return found
