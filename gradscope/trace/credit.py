"""What each step of a loop over time gives to the gradient, in one backward pass.

Nothing is changed in the values. At each step
- a weight goes through a tap whose backward rule has the step's own cotangent of the weight, which is what
  the step contributes to the gradient: the norm of it leaves as the "gradient" of a sink, and so does its
  product with a direction that is given;
- the state may be cut: no gradient goes further back;
- a follower, which is zero, is handed on as the state is: backward it takes the gradient that arrives at the
  state of one step and follows it back through the recurrence alone, without what the loss adds later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from gradscope.trace.jaxprs import Body, compiled
from gradscope.trace.sites import Plan
from gradscope.trace.statistics import stats_dtype
from gradscope.trace.time_steps import Hand, Piece, Timeline


class Flags(NamedTuple):
    """Of each step of a piece, [lead...]."""

    cut: Any
    """Whether no gradient goes further back than this step."""
    start: list[Any]
    """By memory: whether the gradient of the state that enters this step is followed back."""


class Sinks(NamedTuple):
    """Zeros for a piece, whose gradient is what was found. By weight, and the last by memory."""

    norms: dict[int, Any]
    """[lead...]: of what the step contributes to the gradient."""
    products: dict[int, Any]
    """[lead...]: of that, times the direction."""
    total: dict[int, Any]
    """[lead[:-1]..., weight...]: what all steps of the loop contribute."""
    followed: list[Any]
    """[lead...]: the norm of what is followed back, at the state that enters the step."""


Directions = dict[int, Any]
"""By weight of a piece, as `Sinks.total`."""
Row = tuple[Flags, Sinks]
"""Of one step."""
Given = tuple[dict[int, Any], Directions]
"""`Sinks.total` and the directions of the loop as a whole."""


class Credit(Hand):
    """Follows the gradient through the steps; run it inside `jax.grad`."""

    def __init__(self, found: Sequence[Timeline]) -> None:
        super().__init__(found)
        self._of_piece = {piece.number: each for each in found for piece in each.pieces}
        self._begins = {id(each.chains[0][0].plan): number for number, each in enumerate(found)}

    def start(self) -> list[list[list[Array]]]:
        """By loop, memory and state: followers, which are zero."""
        return [
            [[_zeros(each.pieces[0], state) for state in memory] for memory in each.memories]
            for each in self.timelines
        ]

    def opened(self, plan: Plan, state: Any) -> Any:
        number = self._begins.get(id(plan))
        if number is None:
            return state
        return [jax.tree.map(jnp.zeros_like, each) if i == number else each for i, each in enumerate(state)]

    def enter(self, piece: Piece, values: list[Any], given: Given) -> list[Any]:
        values = list(values)
        for number, zeros in given[0].items():
            operand = piece.entry.operands[number]
            values[operand] = _spied(values[operand], zeros)
        return values

    def step(
        self, piece: Piece, values: list[Any], state: Any, row: Row, given: Given
    ) -> tuple[list[Any], Any, Any]:
        values, timeline = list(values), self._of_piece[piece.number]
        flags, sinks = row
        plain = [lax.stop_gradient(value) for value in values]
        for number in piece.weights:
            both = sinks.norms[number], sinks.products[number]
            values[number] = _contribution(values[number], *both, given[1][number])
        for number, first in piece.same.items():
            values[number] = values[first]
        mine = self.timelines.index(timeline)
        after = []
        memories = zip(timeline.memories, state[mine], flags.start, sinks.followed, strict=True)
        for memory, followers, start, sink in memories:
            inputs = [piece.entry.carried.start + piece.places[each] for each in memory]
            followers = _measured(followers, sink)
            for number, follower in zip(inputs, followers, strict=True):
                value = values[number]
                value = jnp.where(flags.cut, lax.stop_gradient(value), value)
                values[number] = value + jnp.where(start, follower, jnp.zeros_like(follower))
            after.append(_handed_on(piece.entry.body, inputs, piece.entry.carried.start, followers, plain))
        return values, [after if i == mine else each for i, each in enumerate(state)], ()


class StepInputs(Hand):
    """Finds the inputs of every step."""

    def step(
        self, piece: Piece, values: list[Any], state: Any, row: Any, given: Any
    ) -> tuple[list[Any], Any, Any]:
        del row, given
        return values, state, values[piece.entry.carried.start :]

    def kept(self, piece: Piece, values: list[Any]) -> Any:
        return [values[piece.entry.operands[i]] for i in range(piece.entry.carried.start)]


def _zeros(piece: Piece, state: int) -> Array:
    aval = piece.state(piece.places[state])
    return jnp.zeros(aval.shape, aval.dtype)


@jax.custom_vjp
def _spied(value: Array, total: Array) -> Array:
    del total
    return value


_spied.defvjp(
    lambda value, total: (value, jnp.zeros((), total.dtype)),
    lambda like, cotangent: (cotangent, cotangent.astype(like.dtype)),
)


@jax.custom_vjp
def _contribution(value: Array, norm: Array, product: Array, direction: Array) -> Array:
    """`value`; the gradients of `norm` and `product` are those of its cotangent."""
    del norm, product, direction
    return value


def _contribution_back(direction: Array, cotangent: Array) -> tuple[Array, Array, Array, Array]:
    wide = cotangent.astype(direction.dtype)
    return cotangent, norm_of([wide]), jnp.sum(wide * direction), jnp.zeros_like(direction)


_contribution.defvjp(lambda value, norm, product, direction: (value, direction), _contribution_back)


@jax.custom_vjp
def _measured(followers: list[Array], sink: Array) -> list[Array]:
    del sink
    return followers


def _measured_back(like: Array, cotangents: list[Array]) -> tuple[list[Array], Array]:
    return cotangents, norm_of([each.astype(like.dtype) for each in cotangents])


_measured.defvjp(lambda followers, sink: (followers, jnp.zeros((), sink.dtype)), _measured_back)


def norm_of(values: Sequence[Array]) -> Array:
    """Of all elements together; no square leaves the range of the dtype."""
    largest = jnp.stack([jnp.max(jnp.abs(value), initial=0.0) for value in values]).max()
    scale = jnp.where(jnp.isfinite(largest) & (largest > 0), largest, 1.0)
    return scale * jnp.sqrt(sum((jnp.sum((value / scale) ** 2) for value in values), jnp.zeros(())))


def recurrence_of(body: Body, inputs: Sequence[int], first: int) -> Callable[..., list[Array]]:
    """A step as a function of a memory alone: `f(states, values)`, with all other inputs of the step given.

    `inputs` are the places of the states among those of the step, of which the carried begin at `first`.
    """
    run = compiled(body)

    def after(states: Sequence[Array], values: Sequence[Any]) -> list[Array]:
        values = list(values)
        for number, state in zip(inputs, states, strict=True):
            values[number] = state
        outs = run(*values)
        return [outs[number - first] for number in inputs]

    return after


def pulled_back(body: Body, inputs: Sequence[int], first: int) -> Callable[..., list[Array]]:
    """The transposed Jacobian of that function at the values: `f(values, cotangents)`."""
    after = recurrence_of(body, inputs, first)

    def pull(values: Sequence[Any], cotangents: list[Array]) -> list[Array]:
        _, back = jax.vjp(lambda states: after(states, values), [values[number] for number in inputs])
        (found,) = back(cotangents)
        return list(found)

    return pull


def _handed_on(
    body: Body, inputs: Sequence[int], first: int, followers: list[Array], values: list[Any]
) -> list[Array]:
    """Zeros; what comes back to them goes on to the followers through the recurrence."""
    pull = pulled_back(body, inputs, first)

    @jax.custom_vjp
    def hand_on(followers: list[Array], values: list[Any]) -> list[Array]:
        del values
        return [jnp.zeros_like(each) for each in followers]

    hand_on.defvjp(
        lambda followers, values: (hand_on(followers, values), values),
        lambda values, cotangents: (pull(values, cotangents), None),
    )
    return list(hand_on(followers, values))


def sinks_of(timeline: Timeline, piece: Piece) -> Sinks:
    wide = {i: stats_dtype(piece.aval(i).dtype) for i in piece.weights}
    first = [piece.state(piece.places[memory[0]]) for memory in timeline.memories]
    return Sinks(
        norms={i: np.zeros(piece.lead, dtype) for i, dtype in wide.items()},
        products={i: np.zeros(piece.lead, dtype) for i, dtype in wide.items()},
        total={i: np.zeros((*piece.lead[:-1], *piece.aval(i).shape), dtype) for i, dtype in wide.items()},
        followed=[np.zeros(piece.lead, stats_dtype(state.dtype)) for state in first],
    )


def rows_of(flags: Flags, sinks: Sinks, directions: Directions) -> tuple[Row, Given]:
    """What `Hand.run` gives to the steps and to the loop of one piece."""
    return (flags, sinks._replace(total={})), (sinks.total, directions)
