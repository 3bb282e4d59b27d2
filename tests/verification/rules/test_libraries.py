"""Rules that other people wrote, and that are right: nothing wrong is found in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from jax.experimental.ode import odeint

from gradscope.verification.rules.find import RuleCall
from tests.verification.rules.made import RIGHT, WRONG, normal, one, rules_of

LABELS = jnp.array([0, 2, 1, 3, 2])

ACTIVATIONS = ("relu", "relu6", "silu", "gelu", "softplus", "mish", "sparse_plus", "log_softmax")

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    **{name: getattr(jax.nn, name) for name in ACTIVATIONS},
    "logsumexp": jax.scipy.special.logsumexp,
    "logaddexp": lambda x: jnp.logaddexp(x, x[::-1]),
    "xlogy": lambda x: jax.scipy.special.xlogy(jnp.abs(x), jnp.abs(x) + 1),
    "norm": lambda x: jnp.linalg.norm(x, axis=-1),
    "safe norm": lambda x: optax.safe_norm(x, 1e-6, axis=-1),
    "sinc": jnp.sinc,
    "slogdet": lambda x: jnp.linalg.slogdet(x[:4, :4])[1],
    "solve": lambda x: jnp.linalg.solve(x[:4, :4], x[:4, 0]),
    "cumulative logsumexp": lambda x: jax.lax.cumlogsumexp(x, axis=1),
    "gammaln": lambda x: jax.scipy.special.gammaln(jnp.abs(x) + 1),
    "erf inverse": lambda x: jax.scipy.special.erfinv(jnp.tanh(x) * 0.9),
    "cross-entropy": lambda x: optax.softmax_cross_entropy_with_integer_labels(x, LABELS),
    "poly": lambda x: optax.losses.poly_loss_cross_entropy(x, jax.nn.one_hot(LABELS, 6)),
    "huber": lambda x: optax.huber_loss(x, jnp.zeros_like(x)),
    "focal": lambda x: optax.sigmoid_focal_loss(x, jnp.ones_like(x)),
    "kl": lambda x: optax.kl_divergence(jax.nn.log_softmax(x), jnp.full_like(x, 1 / 6)),
    "ctc": lambda x: optax.ctc_loss(x[None], jnp.zeros((1, 5)), jnp.array([[1, 2]]), jnp.zeros((1, 2))),
    "projection": lambda x: optax.projections.projection_simplex(x[0]),
    "soft sort of ranks": lambda x: optax.losses.ranking_softmax_loss(x, jnp.ones_like(x)),
}


@pytest.mark.few(6)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_rule_of_a_library_is_called_wrong(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every rule inside is judged and listed, as if the user had written it."""
    monkeypatch.setattr(RuleCall, "is_users", property(lambda call: True))
    function = FUNCTIONS[name]
    x = normal(5, 6).at[0, 1].set(0.0)
    found = rules_of(lambda p: jnp.sum(function(p) ** 2), x)
    assert [f"{c.function}: {c.reason}" for c in found if c.verdict is not RIGHT] == []


def test_a_library_is_not_listed() -> None:
    assert rules_of(lambda p: jnp.sum(jax.nn.relu(p) + optax.safe_norm(p, 0.1)), normal(5)) == []


def test_the_rule_of_an_experimental_solver_of_jax_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is JAX's own, and takes many times as long as the model."""

    def solved(p: Any) -> Any:
        return jnp.sum(odeint(lambda y, t: -y * t, p, jnp.linspace(0.0, 1.0, 3)))

    monkeypatch.delattr("gradscope.verification.rules.check.VisitedCall")
    assert rules_of(solved, normal(5)) == []


def test_a_wrong_rule_of_a_library_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    def half(x: Any) -> Any:
        return x * x

    ruled = jax.custom_vjp(half)
    ruled.defvjp(lambda x: (half(x), x), lambda x, g: (g * x,))
    monkeypatch.setattr(RuleCall, "is_users", property(lambda call: False))
    assert one(rules_of(lambda p: jnp.sum(ruled(p)), normal(5))).verdict is WRONG


def test_a_function_in_a_wrapper_of_a_library_is_the_users_own() -> None:
    @eqx.filter_custom_vjp
    def scaled(x: Any, factor: Any) -> Any:
        return jnp.sin(x) * factor

    @scaled.def_fwd
    def forward(perturbed: Any, x: Any, factor: Any) -> Any:
        return scaled(x, factor), x

    @scaled.def_bwd
    def backward(x: Any, g: Any, perturbed: Any, _x: Any, factor: Any) -> Any:
        return g * jnp.cos(x)

    found = one(rules_of(lambda p: jnp.sum(scaled(p, 3.0)), normal(5)))
    assert (found.function, found.verdict) == ("scaled", WRONG)
    assert found.ratio == pytest.approx(1 / 3, abs=1e-5)
    assert found.source is not None
    assert found.source.text == "def scaled(x: Any, factor: Any) -> Any:"


def test_an_equinox_model_with_a_rule_of_the_users() -> None:
    @jax.custom_jvp
    def act(x: Any) -> Any:
        return x * jax.nn.sigmoid(1.7 * x)

    act.defjvp(lambda p, t: (act(*p), t[0] * jax.grad(lambda x: x * jax.nn.sigmoid(1.7 * x))(p[0])))

    model = eqx.nn.MLP(3, 1, 8, 2, activation=act, key=jax.random.key(0))

    def loss(model: Any, batch: Any) -> Any:
        return jnp.mean((jax.vmap(model)(batch[0]) - batch[1]) ** 2)

    found = one(rules_of(loss, model, (normal(7, 3), normal(7, 1))))
    assert (found.function, found.verdict, found.uses) == ("act", RIGHT, 2)
