"""Units that the loss does not depend on; and healthy programs with columns of zeros in a gradient."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen

from gradscope.records import Finding
from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
D, H = 16, 4
X = RNG.normal(size=(4, 24, 5, D)).astype(np.float32)
LABELS = (np.abs(X.mean(2)) @ RNG.normal(size=(D, 3))).argmax(-1)


def normal(*shape: int) -> Any:
    return jnp.asarray(RNG.normal(size=shape) / np.sqrt(shape[0]), jnp.float32)


def entropy(logits: Any, labels: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def found(loss: Any, params: Any, x: Any = X, labels: Any = LABELS, **options: Any) -> list[Finding]:
    options = {"optimizer": optax.adam(1e-2)} | options
    report = check_loss(loss, params, batches=lambda: zip(x, labels, strict=True), **options)
    assert not [each for each in report.skipped if "gradscope itself failed" in each.reason]
    return [finding for finding in report.findings if finding.rule == "partly-dead-weights"]


FUSED = {"qkv": normal(D, 3, H, D // H), "out": normal(H, D // H, D), "head": normal(D, 3)}
FLAT = {"qkv": normal(D, 3 * D), "out": normal(D, D), "head": normal(D, 3)}


def attend(q: Any, k: Any, v: Any) -> Any:
    weights = jax.nn.softmax(jnp.einsum("bqhd,bkhd->bhqk", q, k) / 2.0)
    return jnp.einsum("bhqk,bkhd->bqhd", weights, v)


def by_einsum(params: Any, batch: Any, used: int = H) -> Any:
    x, labels = batch
    q, k, v = jnp.moveaxis(jnp.einsum("btd,dnhe->btnhe", x, params["qkv"]), 2, 0)
    mixed = attend(q, k, v) * (jnp.arange(H) < used)[:, None]
    h = jax.nn.relu(x + jnp.einsum("bthe,hed->btd", mixed, params["out"]))
    return entropy(h.mean(1) @ params["head"], labels)


def by_split(params: Any, batch: Any) -> Any:
    x, labels = batch
    parts = jnp.split(x @ params["qkv"], 3, axis=-1)
    mixed = attend(*(part.reshape(*x.shape[:2], H, -1) for part in parts))
    h = jax.nn.relu(x + mixed.reshape(x.shape) @ params["out"])
    return entropy(h.mean(1) @ params["head"], labels)


def test_queries_and_keys_over_a_single_position_are_told() -> None:
    (finding,) = found(by_split, FLAT, X[:, :, :1])
    assert (finding.layer, finding.parameter, finding.severity.value) == ("qkv", "qkv", "warning")
    assert "32 of the 48 units of `qkv` (numbers 0 to 31) have a gradient of exactly zero" in finding.message
    assert finding.source is not None
    assert "qkv" in finding.source.text


def test_a_head_that_a_mask_leaves_out_is_told_and_all_of_them_are_quiet() -> None:
    assert found(by_einsum, FUSED) == []
    assert found(by_split, FLAT) == []
    findings = found(lambda params, batch: by_einsum(params, batch, 3), FUSED)
    (projection,) = [each for each in findings if each.parameter == "qkv"]
    assert projection.message.startswith("12 of the 48 units of `qkv`")


class Narrow(eqx.Module):
    first: eqx.nn.Linear
    last: eqx.nn.Linear
    used: int = eqx.field(static=True)

    def __call__(self, x: Any) -> Any:
        return self.last(jnp.tanh(self.first(x))[: self.used])


@pytest.mark.parametrize(("used", "told"), [(24, 1), (32, 0)])
def test_units_that_a_slice_leaves_out_in_rows_of_a_weight(used: int, told: int) -> None:
    one, two = jax.random.split(jax.random.PRNGKey(0))
    model = Narrow(eqx.nn.Linear(D, 32, key=one), eqx.nn.Linear(used, 3, key=two), used)
    findings = found(lambda m, batch: entropy(jax.vmap(m)(batch[0]), batch[1]), model, X[:, :, 0])
    assert len(findings) == told
    assert not told or "8 of the 32 units of `first.weight` (numbers 24 to 31)" in findings[0].message


def test_channels_of_a_convolution_in_a_loop_over_steps_with_remat() -> None:
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            h = linen.gelu(linen.Conv(8, (3,), name="conv")(x))[..., :5]
            return linen.Dense(3)(h.mean(1))

    model = Net()
    params = model.init(jax.random.PRNGKey(0), X[0])

    def loss(params: Any, batch: Any) -> Any:
        return entropy(jax.jit(jax.checkpoint(model.apply))(params, batch[0]), batch[1])

    (finding,) = found(loss, params)
    assert "3 of the 8 units of `conv.kernel` (numbers 5 to 7)" in finding.message


MLP = {
    "w1": normal(D, 32),
    "b1": jnp.zeros(32),
    "w2": normal(32, 16),
    "b2": jnp.zeros(16),
    "w3": normal(16, 3),
}


def mlp(params: Any, batch: Any, act: Any = jax.nn.relu) -> Any:
    h = act(batch[0] @ params["w1"] + params["b1"])
    return entropy(act(h @ params["w2"] + params["b2"]) @ params["w3"], batch[1])


def test_dead_units_are_another_matter() -> None:
    dead = {**MLP, "b1": MLP["b1"].at[:12].set(-100.0)}
    assert found(mlp, dead, X[:, :, 0]) == []
    assert found(mlp, dead, 5 + X[:, :, 0]) == []
    assert found(mlp, {**MLP, "w3": jnp.zeros((16, 3)).at[:4].set(0.1)}, X[:, :, 0]) == []


def test_features_that_no_example_has_and_one_hot_inputs_are_quiet() -> None:
    assert found(mlp, MLP, X[:, :, 0] * (np.arange(D) < 9)) == []
    assert found(mlp, MLP, np.eye(D, dtype=np.float32)[RNG.integers(0, 6, (4, 24))]) == []


def test_actions_that_were_not_taken_are_quiet() -> None:
    def td(params: Any, batch: Any) -> Any:
        h = jnp.tanh(batch[0] @ params["w1"])
        values = h @ params["w2"]
        return jnp.mean((values[jnp.arange(24), batch[1]] - 1) ** 2)

    assert found(td, {"w1": MLP["w1"], "w2": MLP["w2"]}, X[:, :, 0], LABELS) == []


def test_experts_that_these_batches_do_not_use_are_quiet() -> None:
    params = {"gate": normal(D, 8), "up": normal(D, 8 * 6), "down": normal(6, 3)}

    def loss(params: Any, batch: Any) -> Any:
        scores = jax.nn.softmax(batch[0] @ params["gate"])
        _, best = jax.lax.top_k(scores, 1)
        chosen = jax.nn.one_hot(best[:, 0], 8) * scores
        h = jnp.tanh(batch[0] @ params["up"]).reshape(-1, 8, 6) * chosen[..., None]
        return entropy(h.sum(1) @ params["down"], batch[1])

    assert found(loss, params, X[:, :, 0]) == []


@pytest.mark.parametrize("biased", [True, False])
def test_rows_that_get_nothing_from_units_above_are_not_told_twice(biased: bool) -> None:
    """A square weight with a bias: which of its axes are units is told by the bias."""
    params = {"a": {"w": normal(D, D)}, "b": {"w": normal(D, D)}, "c": {"w": normal(D, 3)}}
    if biased:
        params = {name: {**layer, "b": jnp.zeros(layer["w"].shape[1])} for name, layer in params.items()}

    def dense(layer: Any, x: Any) -> Any:
        return x @ layer["w"] + layer["b"] if biased else x @ layer["w"]

    def loss(p: Any, batch: Any) -> Any:
        h = jnp.tanh(dense(p["a"], batch[0])) * (jnp.arange(D) < 11)
        return entropy(dense(p["c"], jnp.tanh(dense(p["b"], h))), batch[1])

    (finding,) = found(loss, params, X[:, :, 0])
    assert "5 of the 16 units of `a.w` (numbers 11 to 15)" in finding.message


@pytest.mark.parametrize("equation", ["btd,rde->brte", "btd,rde->rbte"])
def test_relations_that_no_edge_of_the_batches_has_are_quiet(equation: str) -> None:
    edges = (RNG.random((4, 24, 4, 5, 5)) < 0.3).astype(np.float32)
    edges[:, :, 3] = 0
    params = {"relations": normal(4, D, D) / 2, "own": normal(D, D), "head": normal(D, 3)}

    def loss(params: Any, batch: Any) -> Any:
        (x, edges), labels = batch
        sent = jnp.einsum(equation, x, params["relations"])
        sent = sent if equation.endswith("brte") else jnp.swapaxes(sent, 0, 1)
        h = jax.nn.relu(x @ params["own"] + jnp.einsum("brts,brse->bte", edges, sent))
        return entropy(h.mean(1) @ params["head"], labels)

    assert found(loss, params, list(zip(X, edges, strict=True))) == []
    without = {**params, "relations": params["relations"][:, :, :8]}

    def narrow(params: Any, batch: Any) -> Any:
        wide = jnp.pad(params["relations"], ((0, 0), (0, 0), (0, 8)))
        return loss({**params, "relations": wide}, batch)

    assert found(narrow, without, list(zip(X, edges, strict=True))) == []


def test_tasks_that_the_batches_do_not_have_are_quiet() -> None:
    params = {"up": normal(6, D, D) / 2, "down": normal(6, D)}

    def loss(params: Any, batch: Any) -> Any:
        (x, task), y = batch
        h = jax.nn.relu(jnp.einsum("bd,kde->bke", x.mean(1), params["up"]))
        answers = jnp.einsum("bke,ke->bk", h, params["down"])
        return jnp.mean((jnp.take_along_axis(answers, task[:, None], 1)[:, 0] - y) ** 2)

    tasks = RNG.choice([2, 4], (4, 24)).astype(np.int32)
    assert found(loss, params, list(zip(X, tasks, strict=True)), X[:, :, 0, 0]) == []


@pytest.mark.parametrize("order", ["tiled", "repeated"])
def test_what_the_mask_of_a_coupling_layer_leaves_out_is_a_note(order: str) -> None:
    """Real NVP: each layer changes every second number by a scale and a shift."""
    masks = [np.arange(6) % 2 == turn for turn in (0, 1)]
    params = [{"a": normal(6, 16), "b": 0.1 * normal(16, 12)} for _ in masks]

    def loss(params: Any, batch: Any) -> Any:
        y, volume = batch[0][:, 0, :6], jnp.zeros(())
        for p, mask in zip(params, masks, strict=True):
            both = jnp.tanh(jnp.where(mask, y, 0.0) @ p["a"]) @ p["b"]
            both = both.reshape(-1, 6, 2) if order == "repeated" else both.reshape(-1, 2, 6).swapaxes(1, 2)
            scale, shift = jnp.tanh(both[..., 0]), both[..., 1]
            y = jnp.where(mask, y, y * jnp.exp(scale) + shift)
            volume = volume + jnp.mean(jnp.sum(jnp.where(mask, 0.0, scale), -1))
        return jnp.mean(0.5 * jnp.sum(y**2, -1)) - volume

    (finding,) = found(loss, params)
    assert (finding.parameter, finding.severity.value) == ("[0].b", "note")


def test_nothing_is_told_where_drawn_weights_overflow() -> None:
    params = {"w": 0.01 * normal(D, 8), "out": 0.01 * normal(6, 3)}

    def sliced(params: Any, batch: Any, power: float) -> Any:
        x, labels = batch
        h = jnp.tanh(x.mean(1) @ params["w"])[..., :6]
        return entropy(h @ params["out"], labels) + jnp.exp(power * jnp.sum(h**2))

    assert found(lambda p, b: sliced(p, b, 0.1), params)
    assert found(lambda p, b: sliced(p, b, 50.0), params) == []
