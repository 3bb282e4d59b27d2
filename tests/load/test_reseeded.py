"""A problem from another seed: other initial parameters, other keys, another order of rows."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from tests.load.conftest import load

LOSS = """
import jax, jax.numpy as jnp, numpy as np
def loss_fn(params, batch, key):
    return jnp.mean((batch @ params["w"]) ** 2) + 0 * jax.random.normal(key)
data = np.arange(12, dtype=np.float32).reshape(6, 2)
"""
INIT = LOSS + "def init(key):\n    return {'w': jax.random.normal(key, (2, 1))}\n"


def same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_params_keys_and_rows_are_those_of_a_file_loaded_with_that_seed(write: Any) -> None:
    path = write(INIT)
    again, loaded = load(path).reseeded(5), load(path, seed=5)
    assert same(again.params, loaded.params)
    assert same(list(again.batches()), list(loaded.batches()))
    assert same(again.key(3), loaded.key(3))


def test_another_seed_begins_elsewhere_and_the_first_is_left_alone(write: Any) -> None:
    problem = load(write(INIT))
    before = jax.tree.map(np.array, problem.params)
    assert not same(problem.reseeded(1).params, before)
    assert same(problem.params, before)


def test_params_that_are_a_value_stay(write: Any) -> None:
    problem = load(write(LOSS + "params = {'w': np.ones((2, 1), np.float32)}\n"))
    assert same(problem.reseeded(1).params, problem.params)
    assert not same(list(problem.reseeded(1).batches()), list(problem.batches()))


@pytest.mark.parametrize("argument", ["key", "seed"])
def test_batches_from_a_key_are_those_of_a_file_loaded_with_that_seed(write: Any, argument: str) -> None:
    body = (
        f"def batches({argument}):\n"
        f"    rng = np.random.default_rng(np.atleast_1d({argument}))\n"
        "    for _ in range(3): yield rng.normal(size=(2, 2))\n"
    )
    path = write(INIT.replace("data = ", "rows = ") + body)
    problem = load(path)
    again, loaded = problem.reseeded(5), load(path, seed=5)
    assert same(list(again.batches()), list(loaded.batches()))
    assert not same(list(again.batches()), list(problem.batches()))
    assert len(list(again.batches())) == 3, "each pass starts anew"


def test_a_batch_size_cannot_cut_batches_from_a_key(write: Any) -> None:
    text = "def batches(key):\n    yield np.ones((2, 2), np.float32)\n"
    problem = load(write(INIT.replace("data = ", "rows = ") + text), batch_size=7)
    assert [note for note in problem.notes if "batch size 7 is not used" in note]


def test_a_function_that_makes_the_problem_is_called_with_the_seed(write: Any) -> None:
    made = "def problem(key):\n    return gradscope.Problem(loss_fn, init(key), data=data)\n"
    path = write(INIT + "import gradscope\n" + made)
    assert same(load(path).reseeded(4).params, load(path, seed=4).params)


WHOLE = """
import jax, jax.numpy as jnp, numpy as np, gradscope
def problem(key):
    scale = jax.random.normal(key, (2,))
    def loss_fn(params, batch):
        return jnp.sum(scale * params * jnp.mean(batch))
    return gradscope.Problem(loss_fn, jnp.ones(2), data=np.arange(8.0, dtype=np.float32) * scale[0])
"""


def test_another_seed_of_a_function_is_another_loss_and_another_batch(write: Any) -> None:
    path = write(WHOLE)
    again, loaded = load(path, batch_size=4).reseeded(1).reseeded(4), load(path, seed=4, batch_size=4)
    (one, *_), (other, *_) = list(again.batches()), list(loaded.batches())
    assert len(one) == 4
    assert same(one, other)
    assert same(again.loss(again.params, one, None)[0], loaded.loss(again.params, one, None)[0])
    first = load(path).reseeded(0)
    assert not same(first.loss(first.params, one, None)[0], loaded.loss(first.params, one, None)[0])


def test_the_data_of_the_command_line_go_to_the_loss_of_every_seed(write: Any, tmp_path: Any) -> None:
    np.save(tmp_path / "rows.npy", np.full((6,), 3.0, np.float32))
    again = load(write(WHOLE), data=(str(tmp_path / "rows.npy"),)).reseeded(2)
    assert all(np.all(batch == 3.0) for batch in again.batches())


@pytest.mark.parametrize("text", ["candidates = [1, 2]", "candidates = {'a': 1}", "candidates = {}"])
def test_candidates_that_are_no_optimizers_are_passed_over(write: Any, text: str) -> None:
    problem = load(write(INIT + text))
    assert problem.candidates == {}
    assert not any("candidates" in note for note in problem.notes)


@pytest.mark.parametrize("value", ["[optax.adam]", "{'a': optax.adam, 'b': 1}", "(optax.adam(1e-3),)"])
def test_optimizers_that_are_not_given_by_name_are_passed_over_with_a_note(write: Any, value: str) -> None:
    problem = load(write(INIT + f"import optax\ncandidates = {value}\n"))
    assert problem.candidates == {}
    assert any(note.startswith("candidates is not used") for note in problem.notes)


def test_own_optimizers_are_taken_by_name(write: Any) -> None:
    problem = load(write(INIT + "import optax\ncandidates = {'mine': lambda lr: optax.sgd(lr)}\n"))
    assert list(problem.candidates) == ["mine"]
