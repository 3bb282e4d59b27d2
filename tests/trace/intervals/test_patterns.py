"""Each expression that can fail, and the twin that looks like it and cannot.

`SAFE` is proven from the program; what is only measured to be far away stands in `tests/measure`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from tests.trace.intervals.spotting import kinds

softmax, sigmoid = jax.nn.softmax, jax.nn.sigmoid


def squares(z):
    return jnp.sum(z**2, axis=-1)


def apart(z):
    """Squared distances between all rows."""
    return squares(z[:, None] - z[None, :])


def by_hand(z):
    e = jnp.exp(z)
    return e / e.sum(-1, keepdims=True)


def shifted(z):
    e = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True))
    return e / jnp.sum(e, axis=-1, keepdims=True)


def logsumexp_shifted(z):
    top = z.max(-1, keepdims=True)
    return top[:, 0] + jnp.log(jnp.exp(z - top).sum(-1))


def entropy(p):
    return -jnp.sum(p * jnp.log(p), axis=-1)


def adam_step(z):
    v = 0.999 * jnp.zeros_like(z) + 0.001 * z**2
    return z / (jnp.sqrt(lax.stop_gradient(v)) + 1e-8)


SICK = {
    "log of softmax": ("log-of-softmax", lambda z, b: jnp.log(softmax(z))),
    "log of softmax at the label": (
        "log-of-softmax",
        lambda z, b: jnp.log(jnp.take_along_axis(softmax(z), b["y"][:, None], 1)),
    ),
    "log of softmax by one-hot": (
        "log-of-softmax",
        lambda z, b: jnp.log(jnp.sum(softmax(z) * b["mask"], axis=-1)),
    ),
    "log of softmax that is shifted by hand": ("log-of-softmax", lambda z, b: jnp.log(shifted(z))),
    "entropy of softmax": ("log-of-softmax", lambda z, b: entropy(softmax(z))),
    "log of sigmoid": ("log-of-sigmoid", lambda z, b: jnp.log(sigmoid(z))),
    "log of 1 - sigmoid": ("log-of-sigmoid", lambda z, b: jnp.log(1 - sigmoid(z))),
    "log1p of -sigmoid": ("log-of-sigmoid", lambda z, b: jnp.log1p(-sigmoid(z))),
    "log of a sigmoid by hand": ("log-of-sigmoid", lambda z, b: jnp.log(1 / (1 + jnp.exp(-z)))),
    "log of 1 - tanh squared": ("log-of-tanh", lambda z, b: jnp.log(1 - jnp.tanh(z) ** 2)),
    "log of 1 - a sigmoid clipped at what rounds to 1": (
        "log-of-sigmoid",
        lambda z, b: jnp.log(1 - jnp.clip(sigmoid(z), 1e-10, 1 - 1e-10)),
    ),
    "log of softmax plus an epsilon that float16 does not hold": (
        "log-of-softmax",
        lambda z, b: jnp.log(softmax(z.astype(jnp.float16)) + 1e-10),
    ),
    "log of relu": ("log-near-zero", lambda z, b: jnp.log(jax.nn.relu(z))),
    "log of a square": ("log-near-zero", lambda z, b: jnp.log(z**2)),
    "log of 1 - square": ("log-near-zero", lambda z, b: jnp.log1p(-(z**2))),
    "log of clipped at 0": ("log-near-zero", lambda z, b: jnp.log(jnp.clip(z, 0, 1))),
    "softmax by hand": ("softmax-by-hand", lambda z, b: by_hand(z)),
    "logsumexp by hand": ("logsumexp-by-hand", lambda z, b: jnp.log(jnp.exp(z).sum(-1))),
    "contrastive loss by hand": (
        "logsumexp-by-hand",
        lambda z, b: -jnp.log(jnp.exp(z[:, 0]) / jnp.exp(z[:, 1:]).sum(-1)),
    ),
    "log of an exponential": ("log-of-exp", lambda z, b: jnp.log(jnp.exp(z))),
    "log of an exponential that was broadcast": (
        "log-of-exp",
        lambda z, b: jnp.log(jnp.broadcast_to(jnp.exp(z[:1]), z.shape)) * z,
    ),
    "log of a multiple of an exponential": ("logsumexp-by-hand", lambda z, b: jnp.log(3 * jnp.exp(z))),
    "softplus by hand": ("logsumexp-by-hand", lambda z, b: jnp.log(1 + jnp.exp(z))),
    "softplus by log1p": ("logsumexp-by-hand", lambda z, b: jnp.log1p(jnp.exp(z))),
    "norm": ("root-near-zero", lambda z, b: jnp.linalg.norm(z, axis=-1)),
    "norm by einsum": ("root-near-zero", lambda z, b: jnp.sqrt(jnp.einsum("bi,bi->b", z, z))),
    "norm of a difference": ("root-near-zero", lambda z, b: jnp.sqrt(squares(z - b["mask"]))),
    "std": ("root-near-zero", lambda z, b: jnp.std(z, axis=-1)),
    "cube root": ("root-near-zero", lambda z, b: jnp.cbrt(z)),
    "division by a norm": ("division-by-norm", lambda z, b: z / jnp.linalg.norm(z, axis=-1, keepdims=True)),
    "division by rsqrt": ("division-by-norm", lambda z, b: z * lax.rsqrt(squares(z))[:, None]),
    "division by a std": ("division-by-std", lambda z, b: z / jnp.std(z, axis=0)),
    "division by a sum of squares": ("division-by-sum", lambda z, b: z / squares(z)[:, None]),
    "division by a mask's sum": ("division-by-sum", lambda z, b: (z * b["mask"]).sum(-1) / b["mask"].sum(-1)),
    "division by anything": ("division-by-zero", lambda z, b: 1 / jnp.sin(z)),
    "division by a product's sum": ("division-by-sum", lambda z, b: 1 / z),
    "root of an outer product": ("root-near-zero", lambda z, b: jnp.sqrt(z[:, :1] * z[None, :, 0])),
    "a power of -1": ("division-by-zero", lambda z, b: z**-1),
    "exp": ("large-exponent", lambda z, b: jnp.exp(z)),
    "exp2": ("large-exponent", lambda z, b: jnp.exp2(z)),
    "exp of a square": ("large-exponent", lambda z, b: jnp.exp(z**2)),
    "power below 1": ("power-near-zero", lambda z, b: jnp.abs(z) ** 0.3),
    "angle": ("arctan2-near-origin", lambda z, b: jnp.arctan2(z[:, 0], z[:, 1])),
    "arccos of a clip at 1": ("arccos-near-one", lambda z, b: jnp.arccos(jnp.clip(z, -1, 1))),
    "arcsin of a tanh": ("arcsin-near-one", lambda z, b: jnp.arcsin(jnp.tanh(z))),
    "arctanh": ("arctanh-near-one", lambda z, b: jnp.arctanh(jnp.clip(z, -1, 1))),
    "erfinv": ("erfinv-near-one", lambda z, b: lax.erf_inv(jnp.tanh(z))),
    "one where": ("unsafe-where", lambda z, b: jnp.where(apart(z) > 0, jnp.sqrt(apart(z)), 0.0)),
    "one where, turned round": ("unsafe-where", lambda z, b: jnp.where(z <= 0, 0.0, jnp.log(z))),
    "one where, both conditions": (
        "unsafe-where",
        lambda z, b: jnp.where((z > 0) & (b["mask"] > 0), jnp.log(z), 0.0),
    ),
    "one where around a quotient": (
        "unsafe-where",
        lambda z, b: jnp.where(b["mask"].sum(-1) > 0, z.sum(-1) / b["mask"].sum(-1), 0.0),
    ),
    "one where, by the absolute value": (
        "unsafe-where",
        lambda z, b: jnp.where(jnp.abs(z) > 1e-6, 1 / z, 0.0),
    ),
}
SAFE = {
    "log_softmax": lambda z, b: jax.nn.log_softmax(z),
    "log_sigmoid": lambda z, b: jax.nn.log_sigmoid(z) + jax.nn.log_sigmoid(-z),
    "log of softmax plus an epsilon": lambda z, b: jnp.log(softmax(z) + 1e-8),
    "log of a clipped sigmoid": lambda z, b: jnp.log(jnp.clip(sigmoid(z), 1e-7, 1 - 1e-7)),
    "log of 1 - a clipped sigmoid": lambda z, b: jnp.log(1 - jnp.clip(sigmoid(z), 1e-6, 1 - 1e-6)),
    "log of at least": lambda z, b: jnp.log(jnp.maximum(z, 1e-6)),
    "log of 1 + a square": lambda z, b: jnp.log(1 + z**2) + jnp.log1p(z * z),
    "softplus": lambda z, b: jax.nn.softplus(z) + jnp.logaddexp(z, 0.0),
    "logsumexp": lambda z, b: jax.nn.logsumexp(z, axis=-1),
    "softmax": lambda z, b: softmax(jnp.where(b["mask"] > 0, z, -jnp.inf)),
    "softmax that is shifted by hand": lambda z, b: shifted(z),
    "logsumexp that is shifted by hand": lambda z, b: logsumexp_shifted(z),
    "shifted by a maximum that is guarded": lambda z, b: jnp.exp(
        z - jnp.where(jnp.isfinite(z.max()), z.max(), 0.0)
    ),
    "masked attention": lambda z, b: (
        softmax(jnp.where(b["mask"][0] > 0, z @ z.T[:, :4] / 2.0, -1e9)) @ jax.nn.gelu(z.T[:, :4])
    ),
    "activations": lambda z, b: (
        jax.nn.elu(z) + jax.nn.selu(z) + jax.nn.gelu(z) + jax.nn.silu(z) + jax.nn.mish(z) + jax.nn.celu(z)
    ),
    "layer norm": lambda z, b: (z - z.mean(-1, keepdims=True)) / jnp.sqrt(z.var(-1, keepdims=True) + 1e-6),
    "layer norm with rsqrt": lambda z, b: z * lax.rsqrt(jnp.var(z, axis=-1, keepdims=True) + 1e-6),
    "variance as a difference": lambda z, b: lax.rsqrt(
        jnp.maximum(0.0, jnp.mean(z**2, -1) - jnp.mean(z, -1) ** 2) + 1e-6
    ),
    "rms norm": lambda z, b: z * lax.rsqrt(jnp.mean(z**2, axis=-1, keepdims=True) + 1e-6),
    "norm with an epsilon": lambda z, b: z / jnp.sqrt(squares(z) + 1e-12)[:, None],
    "division by at least": lambda z, b: z.sum(-1) / jnp.maximum(b["mask"].sum(-1), 1.0),
    "division by one more": lambda z, b: z / (1 + jnp.abs(z)) + z / (1e-6 + jnp.exp(-jnp.abs(z))),
    "division by a literal": lambda z, b: z / 0.07,
    "two wheres": lambda z, b: jnp.where(z > 0, jnp.sqrt(jnp.where(z > 0, z, 1.0)), 0.0),
    "where not 0": lambda z, b: 1 / jnp.where(z == 0, 1.0, z) + 1 / jnp.where(z != 0, z, 1.0),
    "where not near 0": lambda z, b: 1 / jnp.where(jnp.abs(z) < 1e-6, 1e-6, z),
    "where the mask has any": lambda z, b: z.sum(-1) / jnp.where(b["mask"].sum(-1) > 0, b["mask"].sum(-1), 1),
    "exp of minus a square": lambda z, b: jnp.exp(-(z**2)).sum() + jnp.exp(-0.5 * apart(z)),
    "exp of a bounded value": lambda z, b: jnp.exp(jnp.tanh(z)) + jnp.exp(jnp.clip(z, -10, 10)),
    "Adam inside the loss": lambda z, b: adam_step(z),
    "square root of data": lambda z, b: z[:, 0] * jnp.sqrt(jnp.sum(b["mask"], -1)),
    "a root that nothing waits for": lambda z, b: lax.stop_gradient(jnp.linalg.norm(z)) + z.sum(),
    "arccos inside": lambda z, b: jnp.arccos(jnp.clip(z, -1 + 1e-6, 1 - 1e-6)),
    "angle of a point that is elsewhere": lambda z, b: jnp.arctan2(z[:, 0], 1 + z[:, 1] ** 2),
    "power above 1": lambda z, b: jnp.abs(z) ** 1.5,
    "cross-entropy of Optax": lambda z, b: optax.softmax_cross_entropy_with_integer_labels(z, b["y"]),
    "binary cross-entropy of Optax": lambda z, b: optax.sigmoid_binary_cross_entropy(z, b["mask"]),
    "cosine distance of Optax": lambda z, b: optax.cosine_distance(z, b["mask"], epsilon=1e-6),
    "Huber and log-cosh of Optax": lambda z, b: optax.huber_loss(z) + optax.log_cosh(z),
    "log density of jax.scipy": lambda z, b: jax.scipy.stats.norm.logpdf(z, 0.0, 1.0 + z**2),
    "relu as a where": lambda z, b: jnp.where(z > 0, z, 0.0),
    "Gumbel noise": lambda z, b: z + jax.random.gumbel(jax.random.PRNGKey(0), (16, 4)),
    "a metric that the loss does not read": lambda z, b: (jnp.log(z), z)[1],
}


@pytest.mark.parametrize("name", SICK)
def test_an_expression_that_can_fail_is_named(name):
    kind, expression = SICK[name]
    assert kind in kinds(expression)


@pytest.mark.parametrize("name", SAFE)
def test_an_expression_that_cannot_fail_is_not_even_measured(name):
    assert kinds(SAFE[name]) == set()


def test_an_operation_without_a_result_is_passed_over():
    def expression(z, b):
        jax.debug.callback(lambda: None)
        return jnp.log(softmax(z))

    assert kinds(expression) == {"log-of-softmax"}


def test_a_logged_softmax_by_hand_is_told_once():
    assert "softmax-by-hand" not in kinds(lambda z, b: jnp.log(by_hand(z)))


def test_the_range_of_a_large_constant_is_known():
    """A bank of filters, as of log-mel features: what it makes of squares is never negative."""
    filters = np.random.default_rng(0).uniform(0, 1, (4, 600)).astype(np.float32)
    assert kinds(lambda z, b: jnp.log(z**2 @ filters + 1e-5)) == set()
    assert kinds(lambda z, b: jnp.log(z**2 @ (filters - 0.5) + 1e-5)) != set()
