"""A `stop_gradient` between parts that are drawn at random and all that learns, and the training with the
gradient let through it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.records import Connection, ShortTraining, TriedGradient
from gradscope.trace.domains.objective import examples_of
from gradscope.trace.domains.uses import arrays_of
from gradscope.trace.graph import Node, Quantity, upstream
from gradscope.trace.jaxprs.rewriting import with_functions
from gradscope.trace.leaves import leaves_of
from gradscope.trace.program import Inputs, Program
from gradscope.trace.sites import members_of
from gradscope.trace.sources import source_of
from gradscope.trace.vocabulary import VIEWS
from gradscope.training.how_many import steps_of_trial
from gradscope.training.trainer import Trainer
from gradscope.training.trials import LONGER


def let_through(
    problem: Problem, program: Program, made: Trainer, record: ShortTraining, first: Inputs
) -> TriedGradient | None:
    """`None` where no `stop_gradient` stands so, where what is before it was not drawn, or holds no less
    than the inputs, and where too few steps are affordable."""
    count = steps_of_trial(program, record.steps)
    if count is None or Connection.BLOCKED not in program.connections or made.searches:
        return None
    batch = made.feed.drawn[0]
    places = {array.place + len(program.leaves) for array in arrays_of(batch, first)}
    blocked = _bits(program, Connection.BLOCKED)
    cuts = [
        node
        for node in program.graph.nodes
        if node.name == "stop_gradient" and node.operands[0].grad & blocked
    ]
    if len(cuts) != 1 or not _all_behind(program, cuts[0], places):
        return None
    examples, cut = examples_of(program, batch), cuts[0]
    given, kept = _given(program, cut, places, examples), _of_each([cut.results[0]], examples)
    drawn = _drawn(problem, program, cut, first.weights)
    if given is None or kept is None or not kept < given or not drawn:
        return None
    body = with_functions(program.body, {id(cut.eqn): jnp.copy})
    opened = replace(program.without_taps(""), body=body)
    other = Trainer(
        FlowPass(opened, made.feed.at(0, made.weights), runs=count), made.rule, made.feed, made.weights
    )
    batches, longer = made.feed.used(count), LONGER * count
    return TriedGradient(
        source=source_of(cut.eqn, cut.calls),
        leaves=tuple(program.leaves[leaf].name for leaf in drawn),
        given=given,
        kept=kept,
        steps=count,
        longer=longer,
        start=made.mean_loss(made.weights, batches)[0],
        end_without=made.mean_loss(made.unchanged(count), batches)[0],
        end_longer=made.mean_loss(made.run(longer).weights, batches)[0],
        end=made.mean_loss(other.run(count).weights, batches)[0],
    )


def _bits(program: Program, connection: Connection) -> int:
    return sum(1 << leaf for leaf, each in enumerate(program.connections) if each is connection)


def _all_behind(program: Program, cut: Node, places: set[int]) -> bool:
    """Whether no array of the batch meets a parameter that learns but through the cut."""
    connected = _bits(program, Connection.CONNECTED)
    around, fed = set[int](), set[int]()

    def outside(value: Quantity) -> bool:
        return id(value) in around or value.position in places

    for node in program.graph.nodes:
        weights = [each for each in node.operands if each.grad & connected and id(each) not in fed]
        beside = any(map(outside, node.operands))
        if weights and beside and node.name not in VIEWS:
            return False
        if beside and node is not cut:
            around.update(map(id, node.results))
        if beside or node is cut or any(id(each) in fed for each in node.operands):
            fed.update(map(id, node.results))
    return True


def _given(program: Program, cut: Node, places: set[int], examples: int) -> int | None:
    """Numbers of each example in the arrays that it is computed from."""
    seen = {id(each): each for node in upstream(cut.operands) for each in node.operands}
    return _of_each([each for each in seen.values() if each.position in places], examples)


def _of_each(values: Sequence[Quantity], examples: int) -> int | None:
    if not values or any(each.shape[:1] != (examples,) for each in values):
        return None
    return sum(math.prod(each.shape[1:]) for each in values)


def _drawn(problem: Problem, program: Program, cut: Node, weights: Sequence[Any]) -> list[int]:
    """The leaves before the cut that another seed draws otherwise; none where a matrix among them stays as it
    is, as one that was loaded does."""
    before = list(members_of(cut.operands[0].grad))
    own, problem = problem.params, problem.reseeded(problem.seed + 1)
    others = jax.tree.leaves(problem.params)
    drawn: list[int] = []
    for leaf, (place, about) in enumerate(leaves_of(own).items()):
        if leaf not in before:
            continue
        if bool(jnp.array_equal(others[place], weights[leaf])):
            if len(about.shape) > 1:
                return []
        else:
            drawn.append(leaf)
    return drawn
