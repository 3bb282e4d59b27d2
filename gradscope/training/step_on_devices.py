"""The training step of the user's file, where it runs on several devices: is it the step of the file's
optimizer with the gradient of the file's loss, and do all devices have the same after it?

The step is traced, not called: nothing is donated, and the file's own params stay as they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import JaxprEqn

from gradscope.load.model.frameworks.table import transform_of
from gradscope.load.model.optimizer_state import fits
from gradscope.load.problem import Problem
from gradscope.measure.replicas import diverged
from gradscope.records import DivergedReplicas, ScaledGradient, Skipped
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.trace.sources import source_of
from gradscope.training.optimizer import StepRule, stepped
from gradscope.training.step_program import StepProgram, step_program

AS_IT_IS = 0.1
"""Of what a step changes: a step that is closer than this to the optimizer's own is taken for it."""
THE_SAME = 0.01
"""The same, of the step of a multiple: rounding of half precision is less."""


@dataclass(frozen=True)
class StepOnDevices:
    """The traced step. Its first inputs are the arrays that go from step to step: of ZeRO the state alone is
    split."""

    body: Body
    args: list[Any]
    batch_in: range
    """Which inputs are the batch."""
    weights_out: tuple[int, ...]
    """Which results are the differentiated leaves of the new params."""
    optimizer: OptimizerInStep | Skipped
    """`Skipped`: why the step cannot be held against that of an optimizer."""


@dataclass(frozen=True)
class OptimizerInStep:
    rule: StepRule
    state: Any
    """Before the step."""
    state_out: tuple[int, ...]
    """Which results of the step are its leaves after it."""


def step_on_devices(
    problem: Problem, tracer: Tracer, inputs: Inputs, batch: Any
) -> StepOnDevices | Skipped | None:
    """`None` where the file has no step, or none that runs on the devices of a mesh by itself."""
    if len(jax.devices()) < 2:
        return None
    traced = step_program(problem, inputs.weights, [batch])
    if not isinstance(traced, StepProgram):
        return traced
    if not jaxprs.has_primitive(traced.body, frozenset({"shard_map"})):
        return None
    outs = traced.results(traced.call.role)
    if outs is None:
        return Skipped(f"`{traced.step.name}` on devices", "it does not give the new parameters back")
    weights = tuple(outs[place] for place in traced.places)
    optimizer = _optimizer_in(traced, problem, tracer, inputs)
    return StepOnDevices(traced.body, traced.given, traced.batch_in, weights, optimizer)


def _optimizer_in(
    traced: StepProgram, problem: Problem, tracer: Tracer, inputs: Inputs
) -> OptimizerInStep | Skipped:
    """The optimizer that the step takes its state of, that of an object with both or the file's."""

    def not_compared(reason: str) -> Skipped:
        return Skipped(f"the gradient of `{traced.step.name}`", reason)

    if problem.takes_key:
        return not_compared("the loss draws random numbers, which are others in each")
    found = traced.call.optimizer_state()
    if found is None:
        return not_compared("it takes no state of an optimizer, by whose step it could be judged")
    rule, held = StepRule.of(problem, tracer), transform_of(found.holder)
    if held is not None:
        rule = replace(rule, transform=held, own=True)
    if not rule.own:
        return not_compared("it takes the state of an optimizer, and the file gives no `optimizer`")
    outs = traced.results(found.name) if found.places else ()
    if outs is None:
        return not_compared(f"it does not give `{found.name}` back")
    places = found.places or []
    given = [traced.start[found.name][place] for place in places]
    wanted, structure = jax.tree.flatten(jax.eval_shape(rule.fresh, inputs.weights))
    if not fits(given, wanted):
        return not_compared("the state that it takes is not that of the optimizer of the file")
    state = jax.tree.unflatten(structure, given)
    return OptimizerInStep(rule, state, tuple(outs[place] for place in places))


def scaled_gradient(own: StepOnDevices, program: Program, inputs: Inputs) -> ScaledGradient | None:
    """Compares what the step gives with what the optimizer makes of the gradient, and of multiples of it by
    the sizes of axes of the mesh. `None` where the gradient itself explains the step, or no multiple does."""
    if isinstance(own.optimizer, Skipped):
        return None
    rule, state = own.optimizer.rule, own.optimizer.state
    sizes = _axes(own.body)
    factors = {1.0: ()} | {
        float(factor): axes
        for count in range(len(sizes), 0, -1)
        for axes in itertools.combinations(sizes, count)
        for devices in [math.prod(sizes[axis] for axis in axes)]
        for factor in (devices, 1 / devices)
    }
    run, weights = jaxprs.compiled(program.body), inputs.weights
    outs = (*own.weights_out, *own.optimizer.state_out)

    def compare(weights: list[Array], others: list[Array], state: Any, args: list[Array]) -> list[Any]:
        made = jaxprs.compiled(own.body)(*args)
        new = [made[out] for out in outs]

        def loss_of(leaves: list[Array]) -> Array:
            return jnp.asarray(run(*leaves, *others)[0])

        loss, gradient = jax.value_and_grad(loss_of)(weights)
        found = []
        for factor in factors:
            scaled = [each * jnp.asarray(factor, each.dtype) for each in gradient]
            updates, after = rule(weights, scaled, state, loss, loss_of)
            wanted = [*map(stepped, weights, updates), *jax.tree.leaves(after)]
            before = [*weights, *jax.tree.leaves(state)]
            found.append([_apart(*each) for each in zip(new, wanted, before, strict=True)])
        return found

    args = (weights, inputs.others, state, own.args)
    rows = np.asarray(jax.device_get(compile_program(compare, args, runs=1)(*args)), np.float64)
    apart = {factor: _largest(row) for factor, row in zip(factors, rows, strict=True)}
    best = min(apart, key=lambda factor: apart[factor])
    if not math.isfinite(apart[1.0]) or apart[1.0] < AS_IT_IS or apart[best] > THE_SAME:
        return None
    source_axes, eqn, calls = _collective(own.body, factors[best], sizes)
    return ScaledGradient(
        source=source_of(eqn, calls),
        axes=source_axes,
        devices=math.prod(sizes[axis] for axis in source_axes),
        factor=best,
        apart=apart[best],
        apart_from_plain=apart[1.0],
        params_apart=_largest(rows[list(factors).index(1.0), : len(weights)]),
    )


def _apart(new: Array, wanted: Array, before: Array) -> Array:
    """f32[2]: how far a leaf is from what it should be, and how far that is from where it was."""
    if not jnp.issubdtype(wanted.dtype, jnp.floating):
        return jnp.zeros(2)
    a, b, c = (each.astype(jnp.float32) for each in (new, wanted, before))
    return jnp.stack([jnp.linalg.norm(jnp.ravel(a - b)), jnp.linalg.norm(jnp.ravel(b - c))])


def _largest(row: Any) -> float:
    """Over the leaves that the step changes, the first number over the second."""
    moved = row[:, 1] > 0
    return float((row[moved, 0] / row[moved, 1]).max()) if moved.any() else math.inf


def _equations(body: Body) -> Iterator[JaxprEqn]:
    return itertools.chain.from_iterable(map(jaxprs.all_equations, body.eqns))


def _axes(body: Body) -> dict[str, int]:
    """The manual axes of all `shard_map`s that have several devices."""
    return {
        axis: size
        for eqn in _equations(body)
        if eqn.primitive.name == "shard_map"
        for axis, size in jaxprs.shard_map_params(eqn).axes
        if size > 1
    }


def _collective(
    body: Body, axes: tuple[str, ...], sizes: dict[str, int]
) -> tuple[tuple[str, ...], JaxprEqn | None, tuple[JaxprEqn, ...]]:
    """The first sum of arrays over as many devices, with its axes; else the `shard_map`."""
    devices, around = math.prod(sizes[axis] for axis in axes), None
    for eqn in _equations(body):
        if eqn.primitive.name == "shard_map" and around is None:
            around = eqn
        named = tuple(axis for axis in sizes if axis in jaxprs.named_axes(eqn))
        several = any(np.ndim(out.aval) for out in eqn.outvars)  # type: ignore[arg-type]
        if (
            eqn.primitive.name.startswith("psum")
            and several
            and math.prod(sizes[axis] for axis in named) == devices
        ):
            return named, eqn, ()
    return axes, around, ()


def diverged_after(own: StepOnDevices, program: Program) -> Iterator[DivergedReplicas]:
    """The first of the new params whose copies are not equal bit for bit: one cause parts all."""

    def weights(*args: Any) -> list[Any]:
        made = jaxprs.compiled(own.body)(*args)
        return [made[out] for out in own.weights_out]

    args = tuple(own.args)
    found = compile_program(weights, args, runs=1)(*args)
    for each in itertools.islice(diverged([leaf.name for leaf in program.leaves], found), 1):
        yield replace(each, own_step=True)
