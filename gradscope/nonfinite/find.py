"""The origin pass: runs the gradient equation by equation, up to the first non-finite value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from gradscope.load.usercode.fault import headline
from gradscope.nonfinite.forward import ForwardOperations
from gradscope.nonfinite.loops import walk_loop
from gradscope.nonfinite.nonfinite_origin import Cell, NonFiniteOrigin, root
from gradscope.nonfinite.origin_record import RecordContext, to_record
from gradscope.nonfinite.values import range_of
from gradscope.nonfinite.walk import Surroundings, Walk
from gradscope.records import Origin, Skipped
from gradscope.trace import jaxprs
from gradscope.trace.cuts import batch_name
from gradscope.trace.leaves import is_array, path_name
from gradscope.trace.program import Inputs, Program
from gradscope.trace.vocabulary import CALLBACKS

WHAT = "the origin of the first NaN or infinity"
FINITE = "operation by operation every value is finite; compiled as a whole the program rounds differently"


def find_origin(program: Program, inputs: Inputs, batch: Any) -> Origin | Skipped:
    """The origin of the first non-finite value, or why it could not be found.

    The report is whole without it, so that a mistake of ours is named there and ends nothing.
    """
    try:
        return _find(program, inputs, batch)
    except Exception as error:
        if _is_users(program, error):
            return Skipped(WHAT, f"running the loss operation by operation raised {headline(error)}")
        return Skipped(WHAT, f"gradscope itself failed there, please report it: {headline(error)}")


def _is_users(program: Program, error: Exception) -> bool:
    """A callback of the user's raised it, or there is too little memory; else what we ran was wrong."""
    if not isinstance(error, jax.errors.JaxRuntimeError):
        return False
    return "RESOURCE_EXHAUSTED" in str(error) or jaxprs.has_primitive(program.body, CALLBACKS)


def _find(program: Program, inputs: Inputs, batch: Any) -> Origin | Skipped:
    consts = list(program.body.consts)
    loss_fn = replace(program, body=jaxprs.with_rule_lines(program.body)).loss
    gradient = jax.make_jaxpr(jax.value_and_grad(loss_fn))(inputs.weights, inputs.others, consts)
    forward = ForwardOperations(program.body)
    walk = Walk(forward.primitives(), walk_loop)
    names = [leaf.name for leaf in program.leaves]
    cells = [*input_cells(program, inputs, batch), *map(walk.constant, consts)]
    loss, *gradients = walk.run(jaxprs.body_of(gradient), cells, Surroundings())
    first = _first([loss]) or _first(gradients)
    if first is None:
        return Skipped(WHAT, FINITE)
    named, became = root(first)
    poisoned = [
        name
        for name, cell in zip(names, gradients, strict=True)
        if any(root(origin)[0] is named or _same(root(origin)[0], named) for origin in cell.blame.values())
    ]
    return to_record(
        named, became, RecordContext(program, inputs, forward, tuple(poisoned), float(loss.value))
    )


def input_cells(program: Program, inputs: Inputs, batch: Any) -> list[Cell]:
    """The inputs of the program by name, each the origin of what is not finite in it."""
    names = [leaf.name for leaf in program.leaves] + _names_of_others(batch, len(inputs.others))
    values = [*inputs.weights, *inputs.others]
    return [_input(value, name) for value, name in zip(values, names, strict=True)]


def _names_of_others(batch: Any, count: int) -> list[str]:
    """Of the inputs that are not differentiated: other leaves of the params, the batch, the key."""
    found = jax.tree_util.tree_flatten_with_path(batch)[0]
    paths = [path_name(path) for path, leaf in found if is_array(leaf)]
    drawn = [batch_name(name) for name in paths]
    return ["params"] * (count - len(drawn) - 1) + drawn + ["key"]


def _same(one: NonFiniteOrigin, other: NonFiniteOrigin) -> bool:
    """Inputs are compared by name: each equation that reads one has an origin of its own for it."""
    return one.preexisting and one.leaf == other.leaf and one.kind == other.kind


def _first(cells: Sequence[Cell]) -> NonFiniteOrigin | None:
    origins = [origin for cell in cells for origin in cell.blame.values()]
    return min(origins, key=lambda origin: root(origin)[0].order, default=None)


def _input(value: Any, name: str) -> Cell:
    found, shape = range_of(value), np.shape(value)
    origins = {
        kind: NonFiniteOrigin(-1, kind, None, name, elements=found.bad, shape=shape) for kind in found.kinds
    }
    return Cell(value, found, origins)
