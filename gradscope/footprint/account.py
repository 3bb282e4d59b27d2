"""The account: parameters, data, gradients, what backward keeps, and what of that a compiler holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from gradscope.blocks.step import of_shape
from gradscope.footprint.layers import Layers
from gradscope.footprint.linearized import Linearized, linearized
from gradscope.footprint.origins import Origins, Spotted, reader
from gradscope.footprint.peak import peak_bytes, size_of
from gradscope.records import CompiledMemory, DerivedOperation, KeptArray, Memory
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sources import source_of


def account(program: Program, inputs: Inputs, optimizer_state: int | None, rows: int | None) -> Memory:
    """Nothing runs and nothing is compiled; `rows` is the size of the batch, where it has one."""
    weights, others = shapes_of(inputs.weights), shapes_of(inputs.others)
    halves = linearized(program.body, weights, others)
    given = {*halves.forward.jaxpr.invars, *halves.forward.jaxpr.constvars}
    return Memory(
        parameters=sum(map(size_of, weights)),
        data=sum(map(size_of, others)) + sum(map(size_of, map(_aval, program.body.consts))),
        gradients=sum(map(size_of, weights)),
        optimizer_state=optimizer_state,
        kept=_kept(halves, Layers(program)),
        kept_arguments=sum(size_of(made.aval) for made, _ in halves.kept if made in given),
        working=peak_bytes(gradient_program(program.body, weights, others)),
        batch_size=rows,
    )


def gradient_program(body: Body, weights: Sequence[Any], others: Sequence[Any]) -> Body:
    """The loss and its gradient as one program."""
    return jaxprs.body_of(jax.make_jaxpr(gradient_of(body))(list(weights), list(others)))


def gradient_of(body: Body) -> Any:
    """Traceable: from weights and other inputs to the loss and its gradient."""
    run = jaxprs.as_program(body)
    return jax.value_and_grad(lambda weights, others: run(*weights, *others)[0])


def compiled_memory(body: Body, weights: Sequence[Any], others: Sequence[Any]) -> tuple[CompiledMemory, Any]:
    """XLA's figures of the loss and gradient for arrays of these shapes, and the compiled program."""
    compiled = compile_program(gradient_of(body), (list(weights), list(others)), runs=1, to_run=False)
    found = compiled.executable.memory_analysis()
    record = CompiledMemory(
        arguments=int(found.argument_size_in_bytes),
        outputs=int(found.output_size_in_bytes),
        temporaries=int(found.temp_size_in_bytes),
        aliased=int(found.alias_size_in_bytes),
    )
    return record, compiled


def shapes_of(values: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    return [of_shape(aval.shape, aval.dtype) for aval in map(_aval, values)]


def _aval(value: Any) -> Any:
    return jax.eval_shape(lambda: value) if not isinstance(value, jax.ShapeDtypeStruct) else value


def _kept(halves: Linearized, layers: Layers) -> tuple[KeptArray, ...]:
    origins, found = Origins(halves.forward), []
    given = {*halves.forward.jaxpr.invars, *halves.forward.jaxpr.constvars}
    for made, reads in halves.kept:
        if made in given:
            continue
        maker = origins.maker(made)
        if maker is None:  # an argument that a call hands through
            continue
        by = next((place for var in reads if (place := reader(halves.backward, var)) is not None), None)
        found.append(
            KeptArray(
                shape=tuple(made.aval.shape),
                dtype=str(made.aval.dtype),
                size=size_of(made.aval),
                steps=maker.steps,
                layer=layers.layer(maker),
                made_by=_operation(maker, layers),
                read_by=None if by is None else _operation(by, layers),
            )
        )
    return tuple(sorted(found, key=lambda array: -array.size))


def _operation(place: Spotted, layers: Layers) -> DerivedOperation:
    name, of = place.eqn.primitive.name, layers.operation(place)
    source = source_of(place.eqn, place.calls)
    return DerivedOperation(name, name if of is None else of.primitive.name, source)
