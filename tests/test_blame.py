"""Whose mistake an exception is: the user's become an error of their own, ours never do."""

from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import gradscope
from gradscope.blocks import step
from gradscope.errors import GradscopeError
from gradscope.load.usercode.user_code import user_code
from gradscope.nonfinite import find
from gradscope.trace import compiling, interpret
from gradscope.trace.program import Program
from tests.nonfinite.finding import looked_for
from tests.trace.oracle import measured

W = {"w": jnp.ones(3)}
PACKAGE = Path(gradscope.__file__).parent


def raising(raised: str, file: str):
    """A function whose one line lies in `file`."""
    space: dict = {}
    exec(compile(f"def fail(): raise {raised}", str(PACKAGE / file), "exec"), space)
    return space["fail"]


@pytest.mark.parametrize("raised", ["TypeError('x')", "ValueError('x')", "KeyError('x')"])
def test_what_a_line_of_ours_raises_is_ours(raised):
    with pytest.raises((TypeError, ValueError, KeyError)), user_code("tracing loss_fn"):
        raising(raised, "trace/dataflow.py")()


def test_a_call_that_does_not_fit_is_the_users():
    with pytest.raises(GradscopeError, match="your code raised TypeError"), user_code("tracing loss_fn"):
        raising("TypeError('missing 1 required positional argument')", "load/problem.py")()


def test_a_lookup_that_fails_where_we_call_the_user_is_ours():
    with pytest.raises(KeyError), user_code("tracing loss_fn"):
        raising("KeyError('x')", "load/problem.py")()


def test_what_only_the_tapped_program_raises_is_ours(monkeypatch):
    tapped = Program.tapped

    def broken(self, weights, *rest):
        jnp.reshape(weights[0], (7, 7))
        return tapped(self, weights, *rest)

    monkeypatch.setattr(Program, "tapped", broken)
    with pytest.raises(TypeError, match="reshape"):
        measured(lambda params: jnp.sum(params["w"] ** 2), W)


def test_a_loop_without_a_reverse_mode_is_the_users():
    def loss(params):
        halved = jax.lax.while_loop(lambda w: jnp.sum(w) > 1, lambda w: w / 2, params["w"])
        return jnp.sum(halved**2)

    with pytest.raises(GradscopeError, match="your code raised ValueError: Reverse-mode differentiation"):
        measured(loss, W)


def ruled(backward):
    @jax.custom_vjp
    def scaled(w):
        return 2 * w

    scaled.defvjp(lambda w: (2 * w, w), backward)
    return lambda params: jnp.sum(scaled(params["w"]) ** 2)


def raises_type_error(_, cotangent):
    return (len(cotangent.nothing),)


@pytest.mark.parametrize(
    "backward",
    [
        lambda _, cotangent: (cotangent + "text",),
        lambda _, cotangent: (cotangent, cotangent),
        lambda _, cotangent: (jnp.ones((5, 5)),),
        lambda cotangent: (cotangent,),
        raises_type_error,
    ],
    ids=["raises", "too-many", "wrong-shape", "wrong-signature", "attribute"],
)
def test_a_backward_rule_that_is_wrong_is_the_users(backward):
    with pytest.raises(GradscopeError, match="your code raised"):
        measured(ruled(backward), W)


def test_a_mistake_of_ours_in_the_origin_pass_is_said_to_be_ours(monkeypatch):
    def broken(*_):
        raise TypeError("unhashable")

    monkeypatch.setattr(find, "root", broken)
    found = looked_for(lambda params, batch: jnp.sum(jnp.log(-(params["w"] ** 2))), W)
    assert "gradscope itself failed" in found.reason


def deep(layer):
    """Long enough to run block by block."""

    def loss(params):
        h = params["w"]
        for _ in range(40):
            h = layer(jnp.tanh(h) + jnp.sin(h) * jnp.cos(h))
        return jnp.sum(h**2)

    return loss


@jax.custom_vjp
def wrong(h):
    return h


wrong.defvjp(lambda h: (h, None), lambda _, cotangent: (cotangent, cotangent))


def test_a_backward_rule_that_is_wrong_in_a_block_is_the_users():
    with pytest.raises(GradscopeError, match="your code raised"):
        measured(deep(wrong), W)


def test_what_only_a_block_raises_is_ours(monkeypatch):
    def broken(*_, **__):
        return jnp.reshape(jnp.ones(3), (7, 7))

    monkeypatch.setattr(step, "evaluate", broken)
    with pytest.raises(TypeError, match="reshape"):
        measured(deep(lambda h: h), W)


def test_what_xla_refuses_of_a_block_is_ours(monkeypatch):
    def broken(*_, **__):
        raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: no such option")

    monkeypatch.setattr(compiling, "_compiled", broken)
    with pytest.raises(jax.errors.JaxRuntimeError):
        measured(deep(lambda h: h), W)


def test_where_the_taps_fail_the_gradients_are_still_measured(monkeypatch):
    def broken(*_):
        raise ValueError("context mesh")

    monkeypatch.setattr(interpret, "forward_stats", broken)
    params = {"first": {"w": jnp.ones((3, 4))}, "second": {"w": jnp.ones((4, 1))}}

    def loss(params, batch):
        return jnp.mean(jnp.tanh(batch @ params["first"]["w"]) @ params["second"]["w"])

    found = measured(loss, params, jnp.ones((5, 3)))
    assert [layer.name for layer in found.layers] == ["first", "second"]
    truth = jax.grad(loss)(params, jnp.ones((5, 3)))
    assert found.layers[0].gradient_norm == pytest.approx(
        float(jnp.linalg.norm(truth["first"]["w"])), rel=1e-5
    )
    (unseen,) = found.unseen
    assert "gradscope itself failed to measure them" in unseen.reason
    assert "context mesh" in unseen.reason
