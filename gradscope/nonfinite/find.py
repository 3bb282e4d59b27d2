"""The origin pass: traces the gradient, walks it, and names the first birth that reaches loss or gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from gradscope.nonfinite.births import Birth, Cell, root
from gradscope.nonfinite.forward import Forward
from gradscope.nonfinite.loops import walk_loop
from gradscope.nonfinite.telling import Context, told
from gradscope.nonfinite.values import survey
from gradscope.nonfinite.walk import Surroundings, Walk
from gradscope.records import Origin, Skipped
from gradscope.trace import jaxprs
from gradscope.trace.leaves import is_array, path_name
from gradscope.trace.program import Inputs, Program

WHAT = "the origin of what is not finite"
FINITE = "run operation by operation, everything is finite; compiled as a whole the program rounds otherwise"


def find_origin(program: Program, inputs: Inputs, batch: Any) -> Origin | Skipped:
    """Where the first non-finite value was born, or why that cannot be said: no reason to lose the report."""
    try:
        return _find(program, inputs, batch)
    except Exception as error:
        reason = f"running the program operation by operation raised {type(error).__name__}: {_line(error)}"
        return Skipped(WHAT, reason)


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]


def _find(program: Program, inputs: Inputs, batch: Any) -> Origin | Skipped:
    consts = list(program.body.consts)
    loss_fn = replace(program, body=jaxprs.with_rule_lines(program.body)).loss
    gradient = jax.make_jaxpr(jax.value_and_grad(loss_fn))(inputs.weights, inputs.others, consts)
    forward = Forward(program.body)
    walk = Walk(forward.primitives(), walk_loop)
    names = [leaf.name for leaf in program.leaves]
    cells = [_input(value, name) for value, name in zip(inputs.weights, names, strict=True)]
    others = _names_of_others(batch, len(inputs.others))
    cells += [_input(value, name) for value, name in zip(inputs.others, others, strict=True)]
    cells += [walk.constant(value) for value in consts]
    loss, *gradients = walk.run(jaxprs.body_of(gradient), cells, Surroundings())
    first = _first([loss]) or _first(gradients)
    if first is None:
        return Skipped(WHAT, FINITE)
    named, became = root(first)
    poisoned = [
        name
        for name, cell in zip(names, gradients, strict=True)
        if any(root(birth)[0] is named or _same(root(birth)[0], named) for birth in cell.blame.values())
    ]
    return told(named, became, Context(program, inputs, forward, tuple(poisoned), float(loss.value)))


def _names_of_others(batch: Any, count: int) -> list[str]:
    """Of the inputs that are not differentiated: other leaves of the params, the batch, the key."""
    found = jax.tree_util.tree_flatten_with_path(batch)[0]
    paths = [path_name(path) for path, leaf in found if is_array(leaf)]
    drawn = [f"batch{'' if not name or name.startswith('[') else '.'}{name}" for name in paths]
    return ["params"] * (count - len(drawn) - 1) + drawn + ["key"]


def _same(one: Birth, other: Birth) -> bool:
    """Inputs are told apart by name: the record of one is made anew for each equation that takes it."""
    return one.was_there and one.leaf == other.leaf and one.kind == other.kind


def _first(cells: Sequence[Cell]) -> Birth | None:
    births = [birth for cell in cells for birth in cell.blame.values()]
    return min(births, key=lambda birth: root(birth)[0].order, default=None)


def _input(value: Any, name: str) -> Cell:
    found, shape = survey(value), np.shape(value)
    births = {kind: Birth(-1, kind, None, name, elements=found.bad, shape=shape) for kind in found.kinds}
    return Cell(value, found, births)
