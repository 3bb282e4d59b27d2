"""Tracks against the slow way: the same view, taken of an array that holds the number of each element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gradscope.trace import jaxprs, tracks
from gradscope.trace.follow import follow, literal
from gradscope.trace.tracks import NOTHING, PRESENT, Tracks, of_leaf

LEAF = (4, 2, 3)
View = Callable[[Any], Any]


def tracked(view: View, *shapes: tuple[int, ...]) -> Tracks:
    """The tracks of `view` of leaves of these shapes, equation by equation."""
    closed = jax.make_jaxpr(view)(*(jnp.zeros(shape) for shape in shapes))
    body = jaxprs.body_of(closed)
    known: dict[Any, Tracks] = {
        var: tracks.of_constant(c, 0) for var, c in zip(body.jaxpr.constvars, body.consts, strict=True)
    }
    known |= {
        var: of_leaf(i, shape) for i, (var, shape) in enumerate(zip(body.jaxpr.invars, shapes, strict=True))
    }

    def read(atom: Any) -> Tracks:
        return literal(atom, 0) if jaxprs.is_literal(atom) else known.get(atom, NOTHING)

    for eqn in body.eqns:
        outs = follow(eqn, [read(atom) for atom in eqn.invars], 0, lambda a, b: None)
        known.update(zip(eqn.outvars, outs, strict=True))
    return read(body.jaxpr.outvars[0])


def numbered(view: View, *shapes: tuple[int, ...]) -> Any:
    """The same with the elements numbered through all leaves, from 1 on."""
    starts = np.cumsum([1, *(int(np.prod(shape)) for shape in shapes)])
    arrays = [
        jnp.arange(start, start + np.prod(shape), dtype=jnp.float32).reshape(shape)
        for start, shape in zip(starts, shapes, strict=False)
    ]
    return np.asarray(view(*arrays)).astype(int)


def holds(view: View, *shapes: tuple[int, ...]) -> set[tracks.Key]:
    """Every track says what the numbers say; the keys that are known."""
    found, numbers = tracked(view, *shapes), numbered(view, *shapes)
    start = 1
    for leaf, shape in enumerate(shapes):
        size = int(np.prod(shape))
        mine = (numbers >= start) & (numbers < start + size)
        where = np.unravel_index(np.clip(numbers - start, 0, size - 1), shape)
        for (owner, axis), track in found.items():
            if owner == leaf:
                expected = np.zeros_like(numbers) if axis == PRESENT else where[axis]
                full = np.broadcast_to(track, numbers.shape)
                assert ((full >= 0) == mine).all(), (owner, axis)
                assert (full[mine] == expected[mine]).all(), (owner, axis)
        start += size
    return set(found)


VIEWS: dict[str, View] = {
    "transposed": lambda w: jnp.transpose(w, (2, 0, 1)),
    "merged": lambda w: w.reshape(8, 3),
    "merged at the end": lambda w: w.reshape(4, 6),
    "cut into groups": lambda w: w.reshape(2, 2, 2, 3),
    "cut across": lambda w: w.reshape(3, 8),
    "with new axes": lambda w: w[:, None, :, :, None],
    "read in another order": lambda w: jax.lax.reshape(w, (6, 4), dimensions=(1, 2, 0)),
    "turned round": lambda w: w[::-1],
    "one": lambda w: w[2],
    "the last": lambda w: w[-1],
    "every second": lambda w: w[1::2],
    "one by one": lambda w: jnp.stack([w[3], w[0], w[1]]),
    "in a known order": lambda w: w[np.array([2, 0, 3])],
    "taken along another axis": lambda w: jnp.take(w, np.array([2, 1]), axis=2),
    "rolled": lambda w: jnp.roll(w, 1, axis=0),
    "split": lambda w: jnp.split(w, 2)[1],
    "unstacked": lambda w: jnp.unstack(w)[2] if hasattr(jnp, "unstack") else w[2],
    "at a counted place": lambda w: jax.lax.dynamic_slice(w, (jnp.int32(3) - 1, 0, 0), (1, 2, 3)),
    "at two places": lambda w: jax.lax.dynamic_slice_in_dim(w, jnp.int32(1), 2),
    "beside itself": lambda w: jnp.concatenate([w, w[:1]]),
    "in an activation's call": lambda w: jax.nn.relu(w[1:]),
    "in a jit": lambda w: jax.jit(lambda v: jnp.moveaxis(v, 0, 2) * 1.0)(w),
    "elementwise": lambda w: jnp.where(w > 0, w, w) + 0.0,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_tracks_follow_a_leaf_that_is(view: View) -> None:
    assert (0, 0) in holds(view, LEAF)


def test_leaves_that_are_stacked_are_told_apart() -> None:
    known = holds(lambda a, b, c: jnp.stack([a, c, b])[::-1], (2, 3), (2, 3), (2, 3))
    assert known >= {(0, PRESENT), (1, PRESENT), (2, PRESENT), (1, 0), (1, 1)}


def test_a_place_that_is_summed_over_is_forgotten_and_the_others_stay() -> None:
    found = tracked(lambda w: w.sum(axis=1), LEAF)
    assert (0, 1) not in found
    np.testing.assert_array_equal(found[0, 0], np.arange(4)[:, None])


@pytest.mark.parametrize(
    "mixed",
    [
        lambda w: jnp.sort(w, axis=0),
        lambda w: w[jnp.argsort(w[:, 0, 0])],
        lambda w: w + w[::-1],
        lambda w: jnp.fft.irfft(jnp.fft.rfft(w, axis=0), n=4, axis=0),
        lambda w: jnp.cumsum(w, axis=0),
    ],
    ids=["sorted", "ordered by value", "added to itself", "transformed", "summed up"],
)
def test_a_place_that_cannot_be_known_is_not_claimed(mixed: View) -> None:
    assert (0, 0) not in tracked(mixed, LEAF)


def test_the_output_of_a_product_has_the_places_of_its_free_axes() -> None:
    found = tracked(lambda w: jnp.einsum("bd,hdk->bhk", jnp.ones((5, 2)), w), LEAF)
    np.testing.assert_array_equal(found[0, 0], np.arange(4)[None, :, None])
    assert (0, 1) not in found


STEPS = st.sampled_from(["turn", "group", "merge", "flip", "cut", "pick", "axis"])


@settings(max_examples=settings.default.max_examples // 5)
@given(st.lists(STEPS, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_tracks_of_random_views_say_where_every_element_came_from(steps: list[str], random: Any) -> None:
    def view(w: Any) -> Any:
        for step in steps:
            axis = random.randrange(w.ndim)
            if step == "turn":
                w = jnp.moveaxis(w, axis, random.randrange(w.ndim))
            elif step == "group" and w.shape[axis] % 2 == 0:
                w = w.reshape(*w.shape[:axis], 2, w.shape[axis] // 2, *w.shape[axis + 1 :])
            elif step == "merge" and axis + 1 < w.ndim:
                w = w.reshape(*w.shape[:axis], -1, *w.shape[axis + 2 :])
            elif step == "flip":
                w = jnp.flip(w, axis)
            elif step == "cut" and w.shape[axis] > 1:
                w = jax.lax.slice_in_dim(w, 1, None, axis=axis)
            elif step == "pick":
                order = np.array([random.randrange(w.shape[axis]) for _ in range(3)])
                w = jnp.take(w, order, axis=axis)
            elif step == "axis":
                w = jnp.expand_dims(w, axis)
        return w

    state = random.getstate()
    found = tracked(view, LEAF)
    random.setstate(state)
    numbers = numbered(view, LEAF)
    where = np.unravel_index(numbers - 1, LEAF)
    assert {(0, 0), (0, 1), (0, 2)} <= set(found)
    for axis in range(3):
        np.testing.assert_array_equal(np.broadcast_to(found[0, axis], numbers.shape), where[axis])


def test_a_random_key_in_the_closure_has_no_track() -> None:
    assert tracks.of_constant(jax.random.key(0), 1) == NOTHING
    assert tracks.of_constant(jax.random.PRNGKey(0), 1) != NOTHING
