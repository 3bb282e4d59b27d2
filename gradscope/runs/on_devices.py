"""What the devices of a mesh make of a problem: of copies, parts and rows, and of the training step."""

from __future__ import annotations

from typing import Any

from gradscope.load.usercode.fault import Looks
from gradscope.measure.dealt_rows import dealt, shared_noise, splits_of, summed_losses
from gradscope.measure.fingerprint import FIXES, STEP_SIZE, equations_of
from gradscope.measure.frozen_shards import frozen_shards
from gradscope.measure.replicas import diverged_in
from gradscope.measure.shards import unreduced_shards
from gradscope.peers.agreeing import Trait, require_equal
from gradscope.records import DivergedReplicas, Skipped
from gradscope.runs.preparing import Prepared
from gradscope.training.norms_of_devices import norms_of_devices
from gradscope.training.step_on_devices import StepOnDevices, diverged_after, scaled_gradient, step_on_devices


def on_devices(prepared: Prepared, loss: float | None, looks: Looks) -> tuple[dict[str, Any], list[Skipped]]:
    """Fields of the measurement, and what could not be read; `loss` is `None` where it is not finite: then
    only copies are compared."""
    program, inputs, batch = prepared.program, prepared.inputs[0], prepared.batches[0]
    copies = looks.listed("copies on devices", lambda: diverged_in(program, inputs, batch))
    if loss is None:
        return {"diverged": tuple(copies)}, []
    step, parted, unread = _own_step(prepared, looks)
    shards = looks.listed("shards", lambda: unreduced_shards(program, inputs))
    found = {"diverged": (*copies, *parted), "unreduced": tuple(shards), **step}
    return found | _own_rows(prepared, loss, looks), unread


def _own_rows(prepared: Prepared, loss: float, looks: Looks) -> dict[str, Any]:
    """What the devices of a mesh make of rows and parts of their own."""
    first, batch, what = prepared.inputs[0], prepared.batches[0], "rows on devices"
    splits = looks.listed(what, lambda: splits_of(prepared.program, first, batch))
    return {
        "frozen_shards": tuple(
            looks.listed("parts on devices", lambda: frozen_shards(prepared.program, prepared.inputs))
        ),
        "summed_losses": tuple(looks.listed(what, lambda: summed_losses(prepared.program, batch, first))),
        "shared_noise": tuple(shared_noise(splits)),
        "dealt": tuple(looks.listed(what, lambda: dealt(prepared.flow, first, batch, loss, splits))),
    }


def _own_step(
    prepared: Prepared, looks: Looks
) -> tuple[dict[str, Any], list[DivergedReplicas], list[Skipped]]:
    """What the file's own training step makes of the devices of a mesh, and params that it parts there."""
    problem, tracer, inputs = prepared.problem, prepared.tracer, prepared.inputs[0]
    own = looks.taken(
        "train_step", lambda: step_on_devices(problem, tracer, inputs, prepared.batches[0]), None
    )
    # Outside of the looks: processes that went on with other steps would wait for each other for ever.
    require_equal("train_step", _traits(own), FIXES)
    if own is None or isinstance(own, Skipped):
        return {}, [], [] if own is None else [own]
    found = looks.taken(
        "the gradient of train_step", lambda: scaled_gradient(own, prepared.program, inputs), None
    )
    norms = looks.listed("norms in train_step", lambda: norms_of_devices(own))
    drifted = looks.listed("copies after train_step", lambda: diverged_after(own, prepared.program))
    unread = [own.optimizer] if isinstance(own.optimizer, Skipped) else []
    return {"local_norms": tuple(norms), "scaled_gradient": found}, drifted, unread


def _traits(own: StepOnDevices | Skipped | None) -> dict[str, Trait]:
    if isinstance(own, StepOnDevices):
        return dict(equations_of(own.body, step=True))
    return {STEP_SIZE: Trait("0" if own is None else own.reason)}
