"""Calls in a file whose results go nowhere, read from its text."""

from __future__ import annotations

import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest

from gradscope.load.model.train_step import TrainStep
from gradscope.load.usercode.discarded import discarded_results, same_parameters


def train_step(params, opt_state, batch): ...


NAMES = {"jax": jax, "jnp": jnp, "optax": optax, "optimizer": optax.adam(1e-3)}
STEP = TrainStep(train_step, "train_step", NAMES)


def kinds(folder: Path, text: str) -> list[tuple[str, str]]:
    file = folder / "model.py"
    file.write_text(textwrap.dedent(text))
    return [(each.kind, each.function) for each in discarded_results(NAMES, str(file))]


def stale(folder: Path, text: str) -> tuple[int, str] | None:
    file = folder / "model.py"
    file.write_text(textwrap.dedent(text))
    found = same_parameters(str(file), "train_step", STEP.trained_argument)
    return None if found is None else (found[0].line, found[1])


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("params['w'].at[0].set(1.0)", ("array", "params['w'].at[0].set")),
        ("optax.apply_updates(params, updates)", ("function", "optax.apply_updates")),
        ("optimizer.update(grads, opt_state, params)", ("optimizer", "optimizer.update")),
        ("state.apply_gradients(grads=grads)", ("state", "state.apply_gradients")),
        ("jax.random.split(key)", ("function", "jax.random.split")),
        ("jnp.clip(x, 0, 1)", ("function", "jnp.clip")),
    ],
)
def test_a_call_without_an_effect_is_found_in_functions_and_loops(tmp_path, statement, found):
    assert kinds(tmp_path, f"def main():\n    if x:\n        {statement}") == [found]
    assert kinds(tmp_path, f"for batch in batches:\n    {statement}") == [found]
    assert kinds(tmp_path, f"def main():\n    x = {statement}") == []
    assert kinds(tmp_path, statement) == []


@pytest.mark.parametrize(
    "statement",
    [
        "jnp.dot(a, b).block_until_ready()",
        "jnp.save('x.npy', x)",
        "jax.tree.map(print, params)",
        "jax.debug.print('{}', x)",
        "jax.lax.fori_loop(0, 3, body, None)",
        "optimizer.apply_gradients(zip(grads, params))",
        "model_optimizer.update(model, grads)",
        "losses.append(jnp.mean(x))",
        "counts.update(a)",
        "np.random.seed(0)",
        "jax.tree.map(jnp.ones, x); train(x)",
        "jnp = other()\n    jnp.clip(x, 0, 1)",
    ],
)
def test_what_has_an_effect_or_may_have_one_is_no_finding(tmp_path, statement):
    assert kinds(tmp_path, f"def main():\n    {statement}") == []


@pytest.mark.parametrize(
    ("loop", "same"),
    [
        ("new, opt_state, loss = train_step(params, opt_state, batch)", True),
        ("loss = train_step(params, opt_state, batch)[2]", True),
        ("train_step(opt_state=s, params=params, batch=batch)", True),
        ("params, opt_state, loss = train_step(params, opt_state, batch)", False),
        ("new, s, loss = train_step(params, s, batch)\n        params = new", False),
        ("params['w'], s, loss = train_step(params, s, batch)", False),
        ("state = train_step(state.params, state.opt, batch)", False),
        ("out = train_step(*state, batch)\n        state = out", False),
    ],
)
def test_a_loop_that_gives_the_step_the_same_parameters(tmp_path, loop, same):
    text = f"def main():\n    for batch in batches:\n        {loop}\n"
    assert stale(tmp_path, text) == ((3, "params") if same else None)


def test_a_loop_that_measures_the_speed_stands_beside_one_that_trains(tmp_path):
    text = """
    for _ in range(10):
        train_step(params, opt_state, batch)
    for batch in batches:
        params, opt_state, loss = train_step(params, opt_state, batch)
    """
    assert stale(tmp_path, text) is None


@pytest.mark.parametrize(
    "rest",
    [
        "def fit(params):\n    return lax.fori_loop(0, 9, lambda i, p: train_step(p, o, b)[0], params)\n",
        "carry = lax.scan(train_step, params, batches)\n",
        "for c in clients:\n    for b in c:\n        new = train_step(params, o, b)\n    params = new\n",
        "for b in batches:\n    new = train_step(params, o, b)\n    params.update(new)\n",
    ],
)
def test_another_use_of_the_step_may_keep_its_results(tmp_path, rest):
    probe = "for rate in rates:\n    loss = train_step(params, o, b)\n"
    assert stale(tmp_path, probe) == (2, "params")
    assert stale(tmp_path, rest if "clients" in rest or "update" in rest else probe + rest) is None


def test_a_try_that_expects_an_exception_keeps_nothing(tmp_path):
    assert (
        kinds(tmp_path, "def main():\n    try:\n        jnp.dot(a, b)\n    except TypeError:\n        pass\n")
        == []
    )


def test_a_parameter_of_the_function_is_not_the_value_of_the_file(tmp_path):
    text = "def train_step(model, optimizer, batch):\n    optimizer.update(model, grads)\n"
    assert kinds(tmp_path, text) == []


def test_a_file_that_python_cannot_read_any_more_is_left_alone(tmp_path):
    assert kinds(tmp_path, "def main(:") == []
    assert stale(tmp_path, "def main(:") is None
