"""Losses take their arguments in many orders; the same numbers must arrive in each."""

import functools
import inspect
import operator
from collections import namedtuple

import jax
import numpy as np
import pytest

from gradscope.load.problem import Problem

W = {"w": np.full(3, 2.0, np.float32)}
X = np.arange(6, dtype=np.float32).reshape(2, 3)
Y = np.ones(2, np.float32)
Pair = namedtuple("Pair", ["x", "y"])


def is_params(value):
    return isinstance(value, dict) and value["w"] is W["w"]


def is_key(value):
    return getattr(value, "shape", None) == (2,) and value.dtype == np.uint32


def called(loss_fn, batch=None):
    """What the loss receives, by the names of its parameters."""
    problem = Problem(loss_fn, W, batch)
    drawn = next(problem.batches())
    value, _ = problem.loss(problem.params, drawn, problem.key())
    return value


@pytest.mark.parametrize(
    ("loss_fn", "batch"),
    [
        (lambda params, batch: (params, batch, None), X),
        (lambda params, batch, key: (params, batch, key), X),
        (lambda params, batch, rng: (params, batch, rng), (X, Y)),
        (lambda params, batch, dropout_key: (params, batch, dropout_key), {"x": X, "y": Y}),
        (lambda params, batch, r: (params, batch, r), X),
        (lambda params, batch, r: (params, batch, r), (X, Y)),
        (lambda key, params, batch: (params, batch, key), X),
        (lambda batch, params: (params, batch, None), X),
        (lambda x, w, rng: (w, x, rng), X),
        (lambda a, b: (a, b, None), (X, Y)),
        (lambda batch, anything: (anything, batch, None), X),
        (lambda model, data, rngs: (model, data, rngs), X),
        (lambda params, batch, *, key: (params, batch, key), X),
        (lambda params, batch, *, key, train=True: (params, batch, key if train else 0), X),
        (lambda params, batch, key=None: (params, batch, key), X),
        (lambda params, batch, train=True, key=None: (params, batch, key if train is True else 0), X),
        (lambda params, /, batch: (params, batch, None), X),
        (lambda params, batch=None: (params, batch, None), X),
        (lambda *args: (args[0], args[1], None), X),
        (lambda *args, **kwargs: (args[0], args[1], None), (X, Y)),
        (functools.partial(lambda scale, params, batch: (params, batch, None), 2), X),
        (functools.partial(lambda params, batch, scale: (params, batch, None), scale=2), X),
        (lambda params, batch, key="mean": (params, batch, None if key == "mean" else 0), X),
        (lambda params, key: (params, None, key), None),
        (lambda params, rng: (params, X, rng), X),
        (lambda key, params: (params, None, key), None),
        (lambda params: (params, None, None), None),
        (lambda params, scale=2.0: (params, None, None if scale == 2.0 else 0), None),
        (lambda params, x=X: (params, x, None), None),
    ],
)
def test_params_batch_and_key_arrive_where_the_names_say(loss_fn, batch):
    problem = Problem(loss_fn, W, batch)
    (params, given, key), aux = wrapped(problem)
    assert aux is None
    assert is_params(params)
    assert same(given, batch) or same(given, X)
    assert problem.takes_key == (key is not None)
    assert key is None or is_key(key)


def same(tree, other):
    """The very same arrays in containers of the same kind."""
    (found, kind), (expected, other_kind) = map(jax.tree.flatten, (tree, other))
    return kind == other_kind and all(map(operator.is_, found, expected))


def wrapped(problem):
    """The arguments as one value: a tuple would be taken for `(loss, aux)`."""
    inner = problem.loss_fn

    class Result:
        def __init__(self, parts):
            self.parts = parts

    @functools.wraps(inner)
    def loss_fn(*args, **kwargs):
        return Result(inner(*args, **kwargs))

    object.__setattr__(problem, "_loss", loss_fn)
    result, aux = problem.loss(problem.params, next(problem.batches()), problem.key())
    return result.parts, aux


@pytest.mark.parametrize(
    ("loss_fn", "batch"),
    [
        (lambda params, x, y: [params, x, y], (X, Y)),
        (lambda params, x, y: [params, x, y], [X, Y]),
        (lambda params, x, y: [params, x, y], {"y": Y, "x": X}),
        (lambda params, y, x: [params, x, y], {"y": Y, "x": X}),
        (lambda params, x, y: [params, x, y], Pair(X, Y)),
        (lambda params, y, x: [params, x, y], Pair(X, Y)),
        (lambda params, data, target: [params, data, target], (X, Y)),
        (lambda params, inputs, targets, key: [params, inputs, targets], (X, Y)),
        (lambda params, x, y, r: [params, x, y], (X, Y)),
        (lambda params, x, y, r: [params, x, y], {"y": Y, "x": X}),
        (lambda x, params, y: [params, x, y], (X, Y)),
        (lambda x, y, params: [params, x, y], (X, Y)),
        (lambda rng, params, x, y: [params, x, y], (X, Y)),
        (lambda params, *batch: [params, *batch], (X, Y)),
        (lambda params, *, x, y: [params, x, y], {"x": X, "y": Y}),
        (lambda params, x, y=None: [params, x, y], {"x": X, "y": Y}),
        (lambda params, x, y, mask=None: [params, x, y if mask is None else 0], {"x": X, "y": Y}),
        (lambda params, key, value: [params, key, value], {"key": X, "value": Y}),
    ],
)
def test_the_parts_of_a_batch_arrive_by_name_or_by_position(loss_fn, batch):
    params, x, y = called(loss_fn, batch)
    assert is_params(params)
    assert x is X
    assert y is Y


def test_a_jitted_loss_is_called_by_the_signature_beneath():
    loss = jax.jit(lambda params, x, y: (x @ params["w"] - y).sum())
    assert called(loss, (X, Y)) == 28.0


def test_a_seed_is_an_integer_that_depends_on_the_key():
    problem = Problem(lambda params, batch, seed: seed, W, X)
    seeds = [int(problem.loss(W, X, problem.key(draw))[0]) for draw in (0, 0, 1)]
    assert seeds[0] == seeds[1] != seeds[2]


def test_several_keys_are_different():
    first, second = called(lambda params, batch, dropout_rng, noise_rng: [dropout_rng, noise_rng], X)
    assert not np.array_equal(first, second)


def test_what_the_loss_returns_is_split_into_value_and_aux():
    def split(result):
        return Problem(lambda params: result, W).loss(W, None, None)

    assert split(1.0) == (1.0, None)
    assert split((1.0, "aux")) == (1.0, "aux")
    assert split((1.0, "logits", "state")) == (1.0, ("logits", "state"))
    assert split([1.0, 2.0]) == ([1.0, 2.0], None)


def test_a_batch_that_the_loss_does_not_take_is_noted():
    note = "The batch is not used: loss_fn takes no parameter for it."
    assert Problem(lambda params: 0.0, W, X).notes == (note,)


def test_a_part_that_the_loss_does_not_take_is_noted():
    problem = Problem(lambda params, x, y: 0.0, W, {"x": X, "y": Y, "weight": Y})
    assert problem.notes == ("loss_fn takes no parameter for 'weight' of the batch.",)


@pytest.mark.parametrize(
    ("loss_fn", "batch", "says"),
    [
        (lambda params, x, y: 0.0, X, "numpy.ndarray of shape (2, 3)"),
        (lambda params, x, y: 0.0, (X, Y, Y), "a tuple of 3"),
        (lambda params, x, y: 0.0, {"image": X, "label": Y}, "'image', 'label'"),
        (lambda params, batch, train: 0.0, X, "numpy.ndarray"),
        (lambda params, batch, *, train: 0.0, X, "numpy.ndarray"),
        (lambda params, model, batch, state: 0.0, X, "numpy.ndarray"),
    ],
)
def test_what_cannot_be_filled_shows_the_signature_and_the_forms(loss_fn, batch, says, refused):
    error = refused(Problem, loss_fn, W, batch)
    assert error.slug == "wrong-number-of-arguments"
    assert f"loss_fn{inspect.signature(loss_fn)}" in error.what
    assert says in error.why
    assert "loss_fn(params, x, y, key)" in error.details


def test_a_loss_without_parameters_is_refused(refused):
    assert "no parameter that could be params" in refused(Problem, lambda: 0.0, W, X).what
    assert refused(Problem, lambda *, key: 0.0, W, X).slug == "wrong-number-of-arguments"


def test_a_loss_that_needs_a_batch_and_has_none_is_refused(refused):
    error = refused(Problem, lambda params, x, y: 0.0, W)
    assert error.what == "loss_fn takes `x`, `y`, and there is no batch."
    assert error.slug == "no-batches"


def test_a_builtin_without_a_signature_is_called_with_params_and_batch():
    problem = Problem(min, 1.0, 2.0)
    assert problem.loss(1.0, 2.0, None)[0] == 1.0


def len_of_text() -> int:
    """A helper of the user's file that is named like a parameter of the loss."""
    return 3


@pytest.mark.parametrize(
    ("loss_fn", "batch", "given", "arrives"),
    [
        (lambda params, x, y: (params, (x, y), None), (X, Y), {"x": Y, "y": X}, (X, Y)),
        (lambda params, state, action: (params, (state, action), None), (X, Y), {"state": Y}, (X, Y)),
        (
            lambda params, state, x, y: (params, (state, x, y), None),
            (X, Y),
            {"state": {"m": Y}},
            ({"m": Y}, X, Y),
        ),
        (lambda params, config, batch: (params, (config, batch), None), X, {"config": "wide"}, ("wide", X)),
        (
            lambda params, table, x, y: (params, (table, x, y), None),
            (X, Y),
            {"table": W["w"]},
            (W["w"], X, Y),
        ),
        (lambda params, x, y: (params, (x, y), None), None, {"x": X, "y": Y}, (X, Y)),
        (lambda params, tokens: (params, tokens, None), X, {"tokens": len_of_text}, X),
        (lambda params, apply, *xy: (params, xy, None), (X, Y), {"apply": len_of_text}, (X, Y)),
        (lambda params, scale=2.0: (params, scale, None), None, {"scale": 5.0}, 2.0),
    ],
    ids=[
        "data",
        "array named state",
        "state",
        "setting",
        "left open",
        "no batch",
        "helper",
        "rest",
        "default",
    ],
)
def test_values_of_the_file_fill_what_they_are_meant_for(loss_fn, batch, given, arrives):
    (params, found, _), _ = wrapped(Problem(loss_fn, W, batch, given=given))
    assert is_params(params)
    assert found == arrives if isinstance(arrives, float) else same(found, arrives)


def test_a_value_of_the_file_is_no_key_only_because_it_comes_last():
    masks, keys = {"w": np.ones(3, np.float32)}, np.array([0, 1], np.uint32)
    seen = []

    def pruned(params, batch, masks):
        seen.append(masks)
        return 0.0

    def drawn(params, batch, noise):
        seen.append(noise)
        return 0.0

    for loss_fn, batch, given in (
        (pruned, {"x": X, "y": Y}, {"masks": masks}),
        (pruned, (X, Y), {"masks": masks}),
        (pruned, X, {"masks": masks}),
        (drawn, X, {"noise": keys}),
    ):
        problem = Problem(loss_fn, W, batch, given=given)
        problem.loss(problem.params, next(problem.batches()), problem.key())
    assert all(each is masks for each in seen[:3])
    assert is_key(seen[3])
    assert seen[3] is not keys
