"""What devices send each other in a step: over the mesh of a problem, and over others beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from gradscope.errors import GradscopeError
from gradscope.records import Communication, Skipped
from gradscope.records.options import CostOptions, LoadOptions, mesh_text
from gradscope.records.progress import Progress

if TYPE_CHECKING:
    from gradscope.load.usercode.fault import Looks
    from gradscope.trace.program import Inputs, Program
    from gradscope.workload.update import Update

BETWEEN = "what devices send each other"


def enough_devices(loading: LoadOptions, options: CostOptions) -> LoadOptions:
    """JAX keeps the devices that it began with: those of the largest mesh."""
    if not options.meshes:
        return loading
    wanted = max(math.prod(mesh.values()) for mesh in (loading.mesh, *options.meshes))
    return replace(loading, devices=max(wanted, loading.devices or 1))


def over_mesh(
    program: Program, inputs: Inputs, update: Update | None, looks: Looks, progress: Progress
) -> tuple[Communication, ...]:
    """Over the mesh on which the arrays lie; empty on one device, and where it could not be read."""
    from gradscope.workload.communication import communication, mesh_of

    mesh = mesh_of(program, inputs)
    if mesh is None:
        return ()
    progress("compiling for the mesh")
    found = looks.taken(BETWEEN, lambda: communication(program, inputs, *mesh, update), None)
    return () if found is None else (found,)


Counted = Callable[[LoadOptions, "Looks"], tuple[Communication, ...]]


def over_others(
    loading: LoadOptions, options: CostOptions, counted: Counted, progress: Progress
) -> tuple[tuple[Communication, ...], tuple[Skipped, ...]]:
    """Over the meshes that are to be compared, in their order, each with the target loaded anew for it."""
    from gradscope.load.usercode.fault import Looks

    looks, found = Looks(), list[Communication]()
    for mesh in options.meshes:
        name = mesh_text(mesh)
        progress(f"{name}: loading")
        try:
            found += counted(replace(loading, mesh=mesh), looks)
        except GradscopeError as error:
            looks.failed.append(Skipped(f"{BETWEEN} over {name}", error.what.rstrip(".")))
    return tuple(found), tuple(looks.failed)
