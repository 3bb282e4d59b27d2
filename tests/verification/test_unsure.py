"""What differs on purpose, or cannot be known, is told apart from wrong, with its reason and line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope.load.problem import Problem
from gradscope.records import GradientCheck
from tests.verification.made import RIGHT, UNSURE, WRONG, Act, mlp, run, verdicts

stop = lax.stop_gradient


def rounded_through(x: Any) -> Any:
    return x + stop(jnp.round(4 * x) / 4 - x)


def passed(change: Callable[[Any], Any], inner: Act = lambda x: x) -> Act:
    """A rule that gives `change(cotangent)` for whatever its function does."""

    @jax.custom_vjp
    def act(x: Any) -> Any:
        return inner(x)

    act.defvjp(lambda x: (inner(x), None), lambda _, g: (change(g),))
    return act


DELIBERATE: dict[str, Act] = {
    "straight-through": passed(lambda g: g, lambda x: jnp.round(4 * x) / 4),
    "reversal": passed(lambda g: -0.3 * g),
    "clipping": passed(lambda g: jnp.clip(g, -1e-3, 1e-3)),
}


def unsure(problem: Problem) -> dict[str, GradientCheck]:
    found = verdicts(problem)
    assert WRONG not in {check.verdict for check in found.values()}, found
    return {name: check for name, check in found.items() if check.verdict is UNSURE}


def test_a_straight_through_estimator_is_named_with_its_line() -> None:
    found = unsure(mlp(rounded_through))
    assert set(found) == {"[0].w", "[0].b", "[1].w", "[1].b"}
    for check in found.values():
        assert check.cause == "stop-gradient"
        assert check.source is not None
        assert check.source.text == "return x + stop(jnp.round(4 * x) / 4 - x)"
        assert "stop_gradient" in check.reason


def test_a_layer_that_is_frozen_is_named_with_its_line() -> None:
    base = mlp(jnp.tanh)

    def loss_fn(params: Any, batch: Any) -> Any:
        first, second, last = params
        frozen = stop(second)  # here
        return base.loss_fn([first, frozen, last], batch)

    found = unsure(Problem(loss_fn, base.params, next(base.batches())))
    assert set(found) == {"[1].w", "[1].b"}
    assert found["[1].w"].source is not None
    assert found["[1].w"].source.text.endswith("# here")
    assert found["[1].w"].analytic == 0 != found["[1].w"].numeric


def test_a_stop_gradient_in_a_scan_and_a_jit_is_seen() -> None:
    def act(x: Any) -> Any:
        step = jax.jit(lambda c, _: (jnp.tanh(c) * stop(c), None))
        return lax.scan(step, x, length=2)[0]

    assert {check.cause for check in unsure(mlp(act)).values()} == {"stop-gradient"}


def test_a_stop_gradient_that_changes_nothing_is_no_reason() -> None:
    """As inside a softmax: the maximum that is taken off cancels."""
    shifted = mlp(lambda x: jnp.exp(x - stop(x.max())) / jnp.exp(x - stop(x.max())).sum())
    assert unsure(shifted) == {}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", DELIBERATE)
def test_a_rule_that_is_meant_is_named_and_not_wrong(name: str) -> None:
    found = unsure(mlp(lambda x: DELIBERATE[name](jnp.tanh(x))))
    assert set(found) == {"[0].w", "[0].b", "[1].w", "[1].b"}
    for check in found.values():
        assert check.cause == "custom-rule"
        assert "custom derivative rule of `act`" in check.reason
        assert "is wrong" not in check.reason


def test_a_random_loss_is_told_and_is_never_wrong() -> None:
    rng = np.random.default_rng(0)
    base = mlp(jnp.tanh)

    def loss_fn(params: Any, batch: Any) -> Any:
        shape = jax.ShapeDtypeStruct((), batch[0].dtype)
        factor = jax.pure_callback(lambda: np.asarray(1 + 0.1 * rng.standard_normal(), shape.dtype), shape)
        return base.loss_fn(params, batch) * factor

    found = unsure(Problem(loss_fn, base.params, next(base.batches())))
    assert set(found) == set(verdicts(base))
    assert {check.cause for check in found.values()} == {"nondeterministic"}
    assert "two evaluations at the same parameters differ" in found["[0].w"].reason


def test_a_callback_that_cannot_be_batched_is_evaluated_one_by_one() -> None:
    base = mlp(jnp.tanh)

    def loss_fn(params: Any, batch: Any) -> Any:
        one = jax.pure_callback(lambda: np.ones((), batch[0].dtype), jax.ShapeDtypeStruct((), batch[0].dtype))
        return base.loss_fn(params, batch) * one

    found = verdicts(Problem(loss_fn, base.params, next(base.batches())))
    assert {check.verdict for check in found.values()} == {RIGHT}


def test_a_loss_that_cannot_be_traced_in_float64_is_verified_in_its_own_precision() -> None:
    base = mlp(jnp.tanh)

    def loss_fn(params: Any, batch: Any) -> Any:
        if batch[0].dtype != jnp.float32:
            raise TypeError("float32 only")
        return base.loss_fn(params, batch)

    found = run(Problem(loss_fn, base.params, next(base.batches())))
    assert {check.verdict for check in found.gradients} == {RIGHT}
    assert {check.dtype for check in found.gradients} == {"float32"}
    (note,) = found.notes
    assert "float32 only" in note


def test_a_note_says_from_what_the_program_was_widened() -> None:
    (note,) = run(mlp(params_in=jnp.bfloat16, width=4)).notes
    assert note == "Verified with parameters and batch widened from bfloat16 and float32 to float64."
    (note,) = run(mlp(pinned=jnp.float32, width=4)).notes
    assert note.endswith("from float32 to float64; inside it the model computes in float32 all the same.")


def overflows(p: Any, b: Any) -> Any:
    """A norm whose square overflows float16: dividing by infinity gives zero."""
    h = b @ p["w"]
    return jnp.mean((h / jnp.sqrt(jnp.sum(h * h)) - 0.1) ** 2)


@pytest.mark.parametrize(("size", "differs"), [(300.0, True), (1.0, False)])
def test_a_note_says_where_the_widened_program_is_another_one(size: float, differs: bool) -> None:
    params = {"w": np.full((4, 3), size, np.float16)}
    found = run(Problem(overflows, params, np.ones((2, 4), np.float16)))
    notes = [note for note in found.notes if "what is right here is right of the widened program" in note]
    assert bool(notes) is differs


def test_no_note_says_so_of_a_program_in_float64() -> None:
    with jax.enable_x64(True):
        found = run(Problem(lambda p, x: jnp.sum((p * x) ** 2), np.ones(3), np.arange(3.0)))
    assert found.notes == ()


def test_a_gradient_that_is_not_finite_is_not_judged() -> None:
    problem = Problem(lambda p, x: jnp.sum(jnp.sqrt(p["w"] * x)), {"w": np.array([1.0, 0.0])}, np.ones(2))
    (check,) = run(problem).gradients
    assert (check.verdict, check.cause) == (UNSURE, "non-finite")


def test_a_loss_that_is_not_finite_is_not_judged() -> None:
    problem = Problem(lambda p, x: jnp.sum(p["w"] / (x - 1)), {"w": np.ones(2)}, np.ones(2))
    (check,) = run(problem).gradients
    assert check.reason == "the loss is not finite"


def test_what_is_cut_by_a_rounding_is_the_flat_part_of_a_stair() -> None:
    found = verdicts(mlp(lambda x: jnp.round(x * 4) / 4))
    assert {check.verdict for check in found.values()} == {RIGHT, UNSURE}
    assert found["[0].w"].cause == "stairs"
    assert "`round`" in found["[0].w"].reason


def test_the_settings_of_jax_are_left_as_they_were() -> None:
    before = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    run(mlp())
    assert jax.config.jax_enable_x64 == before  # type: ignore[attr-defined]
    assert jnp.ones(2).dtype == jnp.float32


def test_a_loss_that_prints_is_verified(capfd: pytest.CaptureFixture[str]) -> None:
    base = mlp(jnp.tanh)

    def loss_fn(params: Any, batch: Any) -> Any:
        value = base.loss_fn(params, batch)
        jax.debug.print("loss {}", value, ordered=True)
        return value

    found = verdicts(Problem(loss_fn, base.params, next(base.batches())))
    assert {check.verdict for check in found.values()} == {RIGHT}
    assert "loss" in capfd.readouterr().out


def test_float32_arrays_inside_the_model_are_no_warning() -> None:
    """In float64 JAX would warn of the scatter, and warnings are errors here."""

    def loss_fn(params: Any, x: Any) -> Any:
        return jnp.sum(jnp.zeros(3, jnp.float32).at[:].set(params["w"] * x))

    (check,) = run(Problem(loss_fn, {"w": np.ones(3, np.float32)}, np.ones(3, np.float32))).gradients
    assert (check.verdict, check.dtype) == (RIGHT, "float32")


@pytest.mark.few(1)
@pytest.mark.parametrize(
    "draw",
    [
        lambda key, shape: jax.random.gamma(key, shape),
        lambda key, shape: jax.random.dirichlet(key, shape),
        lambda key, shape: jax.random.beta(key, shape, 2.0),
        lambda key, shape: lax.scan(
            lambda _, k: (None, jax.random.gamma(k, shape)), None, jax.random.split(key, 3)
        )[1],
    ],
    ids=["gamma", "dirichlet", "beta", "gamma in a scan"],
)
def test_a_sample_by_rejection_is_no_wrong_gradient(draw: Callable[..., Any]) -> None:
    """JAX differentiates its distribution; the sample of one key moves otherwise."""

    def loss(p: Any, batch: Any, key: Any) -> Any:
        return jnp.mean((draw(key, jnp.exp(p["shape"])) * batch @ p["w"]) ** 2)

    params = {"shape": np.array([0.1, 0.4, 0.9]), "w": np.array([0.5, -1.0, 2.0])}
    found = verdicts(Problem(loss, params, np.ones(3)))
    assert found["w"].verdict is RIGHT
    assert found["shape"].verdict is not WRONG
    if found["shape"].verdict is UNSURE:
        assert found["shape"].cause == "implicit-sample"


def test_a_wrong_rule_beside_a_sample_by_rejection_is_wrong() -> None:
    double = passed(lambda g: 3 * g)

    def loss(p: Any, batch: Any, key: Any) -> Any:
        return jnp.mean(jax.random.gamma(key, jnp.exp(p["shape"])) * double(batch * p["w"]))

    params = {"shape": np.array([0.1, 0.4, 0.9]), "w": np.array([0.5, -1.0, 2.0])}
    found = verdicts(Problem(loss, params, np.ones(3)))
    assert found["w"].verdict in (WRONG, UNSURE)
    assert found["w"].cause != "implicit-sample"


@pytest.mark.parametrize("factor", [1.0, 1.4])
def test_a_gradient_that_differences_do_not_resolve_is_not_called_right(factor: float) -> None:
    """Its change of the loss drowns in the rounding of a cast inside the model, right or wrong."""
    scaled = passed(lambda g: factor * g)

    def loss(p: Any, batch: Any) -> Any:
        small = jnp.sum(scaled(p["gain"])) * 1e-6
        return jnp.mean(((batch @ p["w"]).astype(np.float32) + small.astype(np.float32)) ** 2)

    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(4, 3)), "gain": np.array([0.3, 0.7])}
    found = verdicts(Problem(loss, params, rng.normal(size=(16, 4))))
    assert found["w"].verdict is RIGHT
    assert found["gain"].verdict is UNSURE
    assert found["gain"].cause == "noise"
    assert "rounding in float32" in found["gain"].reason


def test_a_bias_before_a_normalization_is_right() -> None:
    """Rounding leaves 1e-17 of a gradient that is zero."""

    def loss(p: Any, batch: Any) -> Any:
        h = batch @ p["w"] + p["b"]
        h = (h - h.mean(0)) / jnp.sqrt(h.var(0) + 1e-5)
        return jnp.mean((jnp.tanh(h) @ p["out"]) ** 2)

    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(4, 3)), "b": rng.normal(size=3), "out": rng.normal(size=(3, 1))}
    for dtype in (np.float32, np.float64):
        cast = jax.tree.map(lambda leaf, dtype=dtype: leaf.astype(dtype), params)
        found = verdicts(Problem(loss, cast, rng.normal(size=(16, 4)).astype(dtype)))
        assert {check.verdict for check in found.values()} == {RIGHT}, found


def test_a_rule_around_a_loop_that_counts_is_verified() -> None:
    """A comparison with a literal inside the loop of a function with a rule of its own."""

    @jax.custom_vjp
    def root(y: Any) -> Any:
        def halve(_: Any, ends: Any) -> Any:
            low, high = ends
            middle = (low + high) / 2
            return jnp.where(middle**3 < y, middle, low), jnp.where(middle**3 < y, high, middle)

        return lax.fori_loop(0, 60, halve, (jnp.zeros_like(y), jnp.full_like(y, 4.0)))[0]

    root.defvjp(lambda y: (root(y), root(y)), lambda x, g: (g / (3 * x**2),))
    found = verdicts(Problem(lambda p, b: jnp.sum(root(p["a"] * b)), {"a": np.array([2.0, 3.0])}, np.ones(2)))
    assert found["a"].verdict is RIGHT


def bisected(p: Any, b: Any) -> Any:
    """A root that is found by comparisons: it moves with its parameters, and its gradient is zero."""

    def halve(_: Any, ends: Any) -> Any:
        low, high = ends
        middle = (low + high) / 2
        right = p["a"] * middle**3 < b
        return jnp.where(right, middle, low), jnp.where(right, high, middle)

    return jnp.sum(lax.fori_loop(0, 12, halve, (jnp.zeros_like(b), jnp.full_like(b, 4.0)))[0] ** 2)


def test_the_flat_part_of_a_stair_is_not_called_right() -> None:
    found = unsure(Problem(bisected, {"a": np.array([2.0, 3.0])}, np.array([1.0, 5.0])))
    assert found["a"].cause == "stairs"
    assert "`lt`" in found["a"].reason


def test_a_choice_that_no_step_changes_is_zero_on_both_sides() -> None:
    def chosen(p: Any, b: Any) -> Any:
        return jnp.mean((b * jnp.where(p["switch"] > 0, 2.0, 1.0) - 1.0) ** 2) + jnp.sum(p["w"] ** 2)

    found = verdicts(Problem(chosen, {"switch": np.array([5.0]), "w": np.ones(2)}, np.ones((3, 1))))
    assert found["switch"].verdict is RIGHT


def test_dead_units_are_zero_on_both_sides() -> None:
    def dead(p: Any, b: Any) -> Any:
        return jnp.mean((jax.nn.relu(b @ p["w"] - 50.0) @ p["out"] - 1.0) ** 2)

    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=(4, 3)), "out": rng.normal(size=(3, 1))}
    found = verdicts(Problem(dead, params, rng.normal(size=(16, 4))))
    assert found["w"].verdict is RIGHT
