"""The training step of the user's file, where it runs on several devices: is it the step of the file's
optimizer with the gradient of the file's loss, and do all devices have the same after it?

The step is traced, not called: nothing is donated, and the file's own params stay as they are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import JaxprEqn

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.load.signature.arguments import Role
from gradscope.load.signature.steps import STATE, StepRole, step_roles
from gradscope.load.usercode.user_code import user_code
from gradscope.measure.replicas import diverged
from gradscope.records import DivergedReplicas, ScaledGradient, Skipped
from gradscope.trace import jaxprs
from gradscope.trace.compiling import compile_program
from gradscope.trace.jaxprs import Body
from gradscope.trace.leaves import leaves_of, split
from gradscope.trace.program import Inputs, Program, Tracer
from gradscope.trace.sources import source_of
from gradscope.training.optimizer import StepRule, stepped

WHAT = "train_step"
AS_IT_IS = 0.1
"""Of what a step changes: a step that is closer than this to the optimizer's own is taken for it."""
THE_SAME = 0.01
"""The same, of the step of a multiple: rounding of half precision is less."""


@dataclass(frozen=True)
class StepOnDevices:
    """The traced step. Its inputs are the arrays of params, state, batch and key, in this order."""

    body: Body
    args: list[Any]
    params_in: range
    """Which inputs are the params and the state: of ZeRO the state alone is split."""
    batch_in: range
    state: Any
    """That of the optimizer before the step; `None` where the step takes none."""
    weights_out: tuple[int, ...]
    """Which results are the differentiated leaves of the new params."""
    state_out: tuple[int, ...]
    """Which are the leaves of the new state."""


def step_on_devices(
    problem: Problem, tracer: Tracer, inputs: Inputs, batch: Any
) -> StepOnDevices | Skipped | None:
    """`None` where the file has no step, or none that runs on the devices of a mesh by itself."""
    step = problem.train_step
    if step is None or len(jax.devices()) < 2:
        return None
    roles = step_roles(step.function)
    if roles is None:
        return Skipped(WHAT, "its parameters are not params, opt_state, batch and, if wanted, key")
    if problem.model is not None:
        return Skipped(WHAT, "it steps a model object; one that takes params as a pytree is compared")
    rule = StepRule.of(problem, tracer)
    if STATE in roles and not rule.own:
        return Skipped(WHAT, "it takes the state of an optimizer, and the file gives no `optimizer`")
    begun = rule.begun(inputs.weights) if STATE in roles else None
    state = begun if begun is not None or STATE not in roles else jax.jit(rule.fresh)(inputs.weights)
    try:
        found = _traced(problem, roles, state, batch)
    except GradscopeError as error:
        return Skipped(WHAT, f"it could not be traced. {error.what}")
    if isinstance(found, StepOnDevices) and not jaxprs.has_primitive(found.body, frozenset({"shard_map"})):
        return None
    return found


def _traced(problem: Problem, roles: tuple[StepRole, ...], state: Any, batch: Any) -> StepOnDevices | Skipped:
    params, rows = split(problem.params), split(batch)
    state_leaves, structure = jax.tree.flatten(state)
    places = list(itertools.accumulate([len(params.traced), len(state_leaves), len(rows.traced)]))
    args = [*params.traced.values(), *state_leaves, *rows.traced.values(), problem.key()]
    results: list[Any] = []

    def run(*given: Any) -> list[Any]:
        values = {
            Role.PARAMS: params.join(given[: places[0]]),
            STATE: jax.tree.unflatten(structure, given[places[0] : places[1]]),
            Role.BATCH: rows.join(given[places[1] : places[2]]),
            Role.KEY: given[-1],
        }
        assert problem.train_step is not None
        results[:] = [problem.train_step.function(*[values[role] for role in roles])]
        return [leaf for leaf in jax.tree.leaves(results) if hasattr(leaf, "dtype")]

    with user_code("tracing train_step"):
        body = jaxprs.body_of(jax.make_jaxpr(run)(*args))
    whole = results[0]
    parts = list(whole) if isinstance(whole, tuple) and not hasattr(whole, "_fields") else [whole]
    new_params, new_state = _place(parts, problem.params), _place(parts, state) if state_leaves else ()
    if new_params is None or new_state is None:
        return Skipped(WHAT, "it does not return the new params and the new state, each of the form given")
    differentiated = leaves_of(problem.params, problem.kinds)
    weights = tuple(out for place, out in enumerate(new_params) if place in differentiated)
    return StepOnDevices(body, args, range(places[1]), range(places[1], places[2]), state, weights, new_state)


def _place(parts: Sequence[Any], wanted: Any) -> tuple[int, ...] | None:
    """The numbers, among all results, of the leaves of the first part that has the form of `wanted`."""
    form, first = _form(wanted), 0
    for part in parts:
        count = sum(hasattr(leaf, "dtype") for leaf in jax.tree.leaves(part))
        if _form(part) == form:
            return tuple(range(first, first + count))
        first += count
    return None


def _form(tree: Any) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    return structure, [np.shape(leaf) for leaf in leaves]


def scaled_gradient(
    own: StepOnDevices, problem: Problem, tracer: Tracer, program: Program, inputs: Inputs
) -> ScaledGradient | None:
    """Compares what the step gives with what the optimizer makes of the gradient, and of multiples of it by
    the sizes of axes of the mesh. `None` where the gradient itself explains the step, or no multiple does."""
    if own.state is None or problem.takes_key:
        return None
    sizes = _axes(own.body)
    factors = {1.0: ()} | {
        float(factor): axes
        for count in range(len(sizes), 0, -1)
        for axes in itertools.combinations(sizes, count)
        for devices in [math.prod(sizes[axis] for axis in axes)]
        for factor in (devices, 1 / devices)
    }
    rule, run, weights = StepRule.of(problem, tracer), jaxprs.compiled(program.body), inputs.weights
    outs = (*own.weights_out, *own.state_out)

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

    args = (weights, inputs.others, own.state, own.args)
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
