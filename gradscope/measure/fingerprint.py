"""What is the same in all processes that measure one target together, or they would wait for each other for
ever: the program, its collectives in their order, and every part of an array that two of them hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn

from gradscope.measure.replicas import checksum_of, copies_of
from gradscope.peers.agreeing import Trait
from gradscope.trace import jaxprs
from gradscope.trace.jaxprs import Body
from gradscope.trace.nested.registry import inside
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of

SAME_PROGRAM = (
    "Give every process the same file and the same options, and let nothing in it depend on the process "
    "(`jax.process_index()`, the machine, the clock)."
)
SAME_NUMBERS = (
    "Draw it from the same key in every process, or, where each holds rows of its own, lay it out over a "
    "mesh: `jax.make_array_from_process_local_data(sharding, rows)`."
)
FIXES = {"equation": SAME_PROGRAM, "the number": SAME_PROGRAM, "the shape": SAME_PROGRAM, "": SAME_NUMBERS}

STEP_SIZE = "the number of equations of train_step"


def fingerprint(program: Program, inputs: Inputs, batch: Any) -> dict[str, Trait]:
    """By what it is of, as an error names it."""
    names = [leaf.name for leaf in program.leaves]
    found = dict(equations_of(program.body))
    for name, array in zip(names, inputs.weights, strict=True):
        found |= _of_array(name, array)
    for path, leaf in jax.tree_util.tree_flatten_with_path(batch)[0]:
        found |= _of_array(f"batch{jax.tree_util.keystr(path)}", leaf)
    for number, array in enumerate(program.body.consts, 1):
        found |= _of_array(f"array {number} that the loss closes over", array)
    return found


def equations_of(body: Body, *, step: bool = False) -> Iterator[tuple[str, Trait]]:
    """The equations of the loss, or of `train_step`, and how many there are, as an error names them."""
    count = 0
    for count, (eqn, around) in enumerate(_equations(body), 1):
        source = source_of(eqn, around)
        place = "" if source is None else f"{source.file}:{source.line}"
        name = f"equation {count} of train_step" if step else f"equation {count} of the loss"
        yield name, Trait(jaxprs.told(eqn), place=place)
    yield STEP_SIZE if step else "the number of equations of the loss", Trait(str(count))


def _equations(
    body: Body, around: tuple[JaxprEqn, ...] = ()
) -> Iterator[tuple[JaxprEqn, tuple[JaxprEqn, ...]]]:
    for eqn in body.jaxpr.eqns:
        yield eqn, around
        carried = inside(eqn)
        for entry in carried.entries if carried is not None else ():
            yield from _equations(entry.body, (eqn, *around))


def _of_array(name: str, value: Any) -> Mapping[str, Trait]:
    """Its shape, and a sum of each part that lies here."""
    kind = f"{jnp.result_type(value) if not hasattr(value, 'dtype') else value.dtype}{list(np.shape(value))}"
    found = {f"the shape of {name}": Trait(kind)}
    if not isinstance(value, jax.Array):
        value = jnp.asarray(value)
    if not value.size:
        return found
    for place, copies in copies_of(value).items():
        # Several devices of one process may hold copies that differ.
        sums = sorted({str(np.asarray(checksum_of(copy)).tolist()) for copy in copies})
        part = name if value.is_fully_replicated else f"{name}, its part {place}"
        found[part] = Trait(" ".join(sums), shown=False)
    return found
