"""What devices send each other in a training step: read from the step as it is compiled for their mesh.

The compiler decides which operations between devices a step has, and joins them; each keeps the name of what
it is for. Nothing runs.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax

from gradscope.footprint.account import shapes_of
from gradscope.footprint.by_device import part_of, spread_by_shape, spread_over
from gradscope.footprint.layers import Layers
from gradscope.footprint.origins import Spotted
from gradscope.records import Collective, Communication
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of
from gradscope.trace.spread import placed_as
from gradscope.workload.device_groups import axes_along, axes_between, groups_of
from gradscope.workload.hlo import DeviceExchange, exchanges
from gradscope.workload.update import Update

FORWARD, BACKWARD, UPDATE = "forward", "backward", "update"
_UPDATING = "gradscope_update"
_WEIGHT = re.compile(r"^args\[0\]\[(\d+)\]")
_BEHIND = re.compile(r"[;:]")
"""Names of several operations that became one: that of the first is taken."""


def mesh_of(program: Program, inputs: Inputs) -> tuple[dict[str, int], int] | None:
    """Names and sizes of its axes, where they have names, and the number of devices; `None` where the program
    is one of one device."""
    found = spread_over([*inputs.weights, *inputs.others, *program.body.consts])
    if found is not None:
        return found
    for eqn in program.body.eqns:
        for each in jaxprs.all_equations(eqn):
            if each.primitive.name == "shard_map":
                mesh = dict(jaxprs.shard_map_params(each).mesh.shape)
                count = math.prod(mesh.values())
                return (mesh, count) if count > 1 else None
    return None


def communication(
    program: Program, inputs: Inputs, mesh: Mapping[str, int], devices: int, update: Update | None
) -> Communication:
    """Of the loss, its gradient and the `update` of the optimizer, where there is one, compiled as one."""
    step = jaxprs.marked(program.body)
    run = jaxprs.as_program(step.body)
    weights, others = list(inputs.weights), list(inputs.others)
    state, structure = jax.tree.flatten(None if update is None else update.state)
    state = _laid_out(state, weights)

    def whole(weights: list[Any], state: list[Any], others: list[Any]) -> Any:
        loss, gradients = jax.value_and_grad(lambda leaves: run(*leaves, *others)[0])(weights)
        if update is None:
            return loss, placed_as(gradients, inputs.weights)
        with jax.named_scope(_UPDATING):
            found = update.function(weights, gradients, jax.tree.unflatten(structure, state), loss)
            return loss, placed_as(found[0], inputs.weights), found[1]

    donate = (0, 1) if update is not None else ()
    with warnings.catch_warnings():
        # Of a buffer that no result has the shape of: then it is not given away.
        warnings.filterwarnings("ignore", "Some donated buffers were not usable")
        compiled = compile_program(whole, (weights, state, others), runs=1, donate=donate, to_run=False)
    rows = _Rows(program, step, mesh, devices)
    for each in exchanges(compiled.executable.as_text()):
        rows.add(each)
    sizes = compiled.executable.memory_analysis()
    peak = sizes.argument_size_in_bytes + sizes.output_size_in_bytes + sizes.temp_size_in_bytes
    return Communication(
        mesh=dict(mesh),
        devices=devices,
        collectives=rows.found(),
        parameters=sum(map(part_of, weights)),
        peak=int(peak - sizes.alias_size_in_bytes),
        updated=update is not None,
        open_loops=rows.open,
    )


def _laid_out(state: Sequence[Any], weights: Sequence[Any]) -> list[Any]:
    """The shapes of the optimizer's state, each where a parameter of its shape lies."""
    like = spread_by_shape(weights)
    return [
        jax.ShapeDtypeStruct(each.shape, each.dtype, sharding=like.get(each.shape))  # type: ignore[no-untyped-call]
        for each in shapes_of(state)
    ]


def least_sent(kind: str, size: float, devices: int) -> float:
    """[bytes] that each of so many devices has to send at least, for an array of `size` bytes.

    A sum cannot do with less than twice what gathering it takes (Patarasuk and Yuan 2009, *Bandwidth optimal
    all-reduce algorithms for clusters of workstations*).
    """
    if kind in ("collective-permute", "collective-broadcast"):
        return size
    return (2 if kind == "all-reduce" else 1) * size * (devices - 1) / devices


class _Rows:
    """The operations, added up by what they are for."""

    def __init__(
        self, program: Program, step: jaxprs.MarkedProgram, mesh: Mapping[str, int], devices: int
    ) -> None:
        self._program, self._step, self._mesh, self._devices = program, step, mesh, devices
        self._layers = Layers(program)
        self._rows: dict[Any, Collective] = {}
        self.open = 0

    def add(self, each: DeviceExchange) -> None:
        axes, count = self._among(each)
        if count < 2 or not each.size:
            return
        self.open += each.open
        layer, source, half = self._of(_BEHIND.split(each.op_name)[0])
        size = each.size * (count if each.kind == "all-gather" else 1)
        key = layer, each.kind, half, axes, count, source
        row = self._rows.get(key) or Collective(each.kind, layer, source, half, axes, count, 0, 0, 0.0)
        self._rows[key] = replace(
            row,
            count=row.count + each.times,
            size=row.size + each.times * size,
            sent=row.sent + each.times * least_sent(each.kind, size, count),
        )

    def _among(self, each: DeviceExchange) -> tuple[tuple[str, ...], int]:
        """The axes, and how many devices take part together; 1 where none sends to another one."""
        if each.kind == "collective-permute":
            between = axes_between(each.attributes, self._mesh)
            return ((), 1) if between is None else (between, math.prod(self._mesh[axis] for axis in between))
        groups = groups_of(each.attributes, self._devices)
        return ((), self._devices) if groups is None else (axes_along(groups, self._mesh), groups.shape[1])

    def _of(self, name: str) -> tuple[str | None, Any, str]:
        """The layer, the line and the half of what has this name."""
        half = UPDATE if _UPDATING in name else BACKWARD if "transpose(" in name else FORWARD
        weight = _WEIGHT.match(name)
        if weight:  # XLA lays a parameter out otherwise before anything reads it
            return (*self._of_leaf(int(weight[1])), half)
        place = self._step.place(name)
        if place is None:
            return None, None, half
        spot = Spotted(*place)
        return self._layers.layer(spot), source_of(spot.eqn, spot.calls), half

    def _of_leaf(self, leaf: int) -> tuple[str | None, Any]:
        for group, source in zip(self._program.layers, self._program.sources, strict=True):
            if leaf in group.leaves:
                return group.name, source
        return None, None

    def found(self) -> tuple[Collective, ...]:
        """In forward order of the layers, then what is of none."""
        order = {group.name: place for place, group in enumerate(self._program.layers)}
        halves = (FORWARD, BACKWARD, UPDATE)
        return tuple(
            sorted(
                self._rows.values(),
                key=lambda row: (order.get(row.layer or "", len(order)), halves.index(row.half), row.kind),
            )
        )
