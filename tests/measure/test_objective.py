"""What is read of the loss and its batch: of sick programs, and of healthy ones that look like them."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen
from jax import lax

from gradscope.load.problem import Problem
from gradscope.measure.objective import objective_of
from gradscope.records import Objective, OutputFault
from gradscope.trace.domains.objective import examples_of
from gradscope.trace.program import Tracer

N, C = 12, 5
RNG = np.random.default_rng(5)
X = RNG.normal(size=(N, 3)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
BATCH = {
    "x": X,
    "y": LABELS,
    "onehot": np.eye(C, dtype=np.float32)[LABELS],
    "target": X.sum(1),
    "positive": abs(X[:, 0]),
}
PARAMS = {
    "w1": RNG.normal(size=(3, 8)).astype(np.float32),
    "w2": RNG.normal(size=(8, C)).astype(np.float32),
    "b2": np.zeros(C, np.float32),
    "one": RNG.normal(size=(8, 1)).astype(np.float32),
}


def objective(loss: Any, params: Any = PARAMS, batch: Any = BATCH) -> Objective:
    tracer = Tracer(Problem(loss, params, batch))
    return objective_of(tracer.trace(batch), batch, [tracer.inputs(batch)])


def faults(loss: Any, params: Any = PARAMS, batch: Any = BATCH) -> list[OutputFault]:
    return [one.fault for one in objective(loss, params, batch).outputs]


def hidden(p: Any, b: Any) -> Any:
    return jax.nn.relu(b["x"] @ p["w1"])


def logits(p: Any, b: Any) -> Any:
    return hidden(p, b) @ p["w2"] + p["b2"]


def unit(p: Any, b: Any) -> Any:
    return hidden(p, b) @ p["one"]


def log_softmax(p: Any, b: Any) -> Any:
    return jax.nn.log_softmax(logits(p, b))


def softmax(p: Any, b: Any) -> Any:
    return jax.nn.softmax(logits(p, b))


def entropy(z: Any, b: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(z, b["y"]).mean()


def by_hand(z: Any) -> Any:
    e = jnp.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def tokens(p: Any, b: Any) -> Any:
    """A language model's head, whose probabilities are flattened."""
    z = jax.nn.softmax(jnp.stack([logits(p, b)] * 3, 1))
    return optax.softmax_cross_entropy_with_integer_labels(z.reshape(-1, C), jnp.repeat(b["y"], 3)).mean()


def in_scan(p: Any, b: Any) -> Any:
    def step(total: Any, row: Any) -> Any:
        x, y = row
        q = jax.nn.softmax(jax.nn.relu(x @ p["w1"]) @ p["w2"])
        return total - jax.nn.log_softmax(q)[y], None

    return lax.scan(step, 0.0, (b["x"], b["y"]))[0] / N


TWICE = {
    "optax": lambda p, b: entropy(jax.nn.softmax(logits(p, b)), b),
    "log-softmax": lambda p, b: -jnp.mean(jax.nn.log_softmax(softmax(p, b))[jnp.arange(N), b["y"]]),
    "one-hot": lambda p, b: optax.softmax_cross_entropy(jax.nn.softmax(logits(p, b)), b["onehot"]).mean(),
    "by hand": lambda p, b: entropy(by_hand(logits(p, b)), b),
    "clipped": lambda p, b: entropy(jnp.clip(jax.nn.softmax(logits(p, b)), 1e-7, 1.0), b),
    "with an epsilon": lambda p, b: entropy(jax.nn.softmax(logits(p, b)) + 1e-8, b),
    "bfloat16": lambda p, b: entropy(jax.nn.softmax(logits(p, b).astype(jnp.bfloat16)), b),
    "vmap": lambda p, b: entropy(jax.vmap(jax.nn.softmax)(logits(p, b)), b),
    "jit and checkpoint": lambda p, b: entropy(jax.checkpoint(jax.jit(softmax))(p, b), b),
    "scan": in_scan,
    "sigmoid, then softmax": lambda p, b: entropy(jax.nn.sigmoid(logits(p, b)), b),
    "sigmoid, then sigmoid": lambda p, b: optax.sigmoid_binary_cross_entropy(
        jax.nn.sigmoid(unit(p, b))[:, 0], b["y"] > 2
    ).mean(),
    "tokens": tokens,
}  # fmt: skip


def attention(p: Any, b: Any) -> Any:
    h = hidden(p, b)
    return entropy(jax.nn.softmax(h @ h.T) @ h @ p["w2"], b)


def sinkhorn(p: Any, b: Any) -> Any:
    z = logits(p, b)
    for _ in range(3):
        z = jax.nn.log_softmax(z, axis=1)
        z = jax.nn.log_softmax(z, axis=0)
    return -jnp.mean(jnp.sum(z * b["onehot"], 1))


def distilled(p: Any, b: Any) -> Any:
    teacher = jax.nn.softmax(b["onehot"] * 4)
    return optax.softmax_cross_entropy(logits(p, b), teacher).mean()


def mixture(p: Any, b: Any) -> Any:
    """One component: its weight is 1 and the sum of one exponential is itself."""
    return -jnp.mean(jax.nn.logsumexp(-((unit(p, b) - b["target"][:, None]) ** 2), axis=1))


def lstm(p: Any, b: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        gate = jax.nn.sigmoid(x @ p["w1"])
        h = gate * h + (1 - gate) * jnp.tanh(x @ p["w1"])
        return h, h

    h = lax.scan(step, jnp.zeros(8), b["x"])[1]
    return entropy(h @ p["w2"], b)


def normalized_noise(p: Any, b: Any) -> Any:
    """A score: noise minus a bounded direction, then a layer."""
    h = jnp.tanh(hidden(p, b)) - b["target"][:, None]
    return jnp.mean((h @ p["one"] - b["target"][:, None]) ** 2)


def scaled_targets(p: Any, b: Any) -> Any:
    low, high = b["target"].min(), b["target"].max()
    return jnp.mean((jax.nn.sigmoid(unit(p, b))[:, 0] - (b["target"] - low) / (high - low)) ** 2)


def hinge(p: Any, b: Any) -> Any:
    return jnp.mean(jax.nn.relu(1 - jnp.sign(b["target"])[:, None] * unit(p, b)))


def critic(p: Any, b: Any) -> Any:
    """Of a Wasserstein GAN; its weights are clipped after the step."""
    return jnp.mean(unit(p, b)) - jnp.mean(unit(p, {"x": -b["x"]}))


def policy(p: Any, b: Any) -> Any:
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits(p, b)), b["y"][:, None], 1)
    return -jnp.mean(chosen * b["target"][:, None])


def q_values(p: Any, b: Any) -> Any:
    q = jnp.take_along_axis(logits(p, b), b["y"][:, None], 1)[:, 0]
    return jnp.mean(optax.huber_loss(q, b["target"]))


def penalized(p: Any, b: Any) -> Any:
    """Linear in the scores, and bounded by a penalty on the weights."""
    return -jnp.mean(jnp.sum(logits(p, b) * b["onehot"], 1)) + sum(jnp.sum(w**2) for w in p.values())


HEALTHY = {
    "logits": lambda p, b: entropy(logits(p, b), b),
    "log-softmax of log-softmax": lambda p, b: entropy(jax.nn.log_softmax(logits(p, b)), b),
    "temperature": lambda p, b: entropy(20 * jax.nn.softmax(logits(p, b)), b),
    "brier": lambda p, b: jnp.mean((jax.nn.softmax(logits(p, b)) - b["onehot"]) ** 2),
    "attention": attention,
    "sinkhorn": sinkhorn,
    "distillation": distilled,
    "mixture of one": mixture,
    "gates": lstm,
    "softmax over another axis": lambda p, b: entropy(jax.nn.softmax(logits(p, b), axis=0), b),
    "sigmoid of a sum": lambda p, b: optax.sigmoid_binary_cross_entropy(unit(p, b)[:, 0], b["y"] > 2).mean(),
    "positive targets": lambda p, b: jnp.mean((jax.nn.relu(unit(p, b))[:, 0] - b["positive"]) ** 2),
    "scaled tanh": lambda p, b: jnp.mean((10 * jnp.tanh(unit(p, b))[:, 0] - b["target"]) ** 2),
    "linear output": lambda p, b: jnp.mean((unit(p, b)[:, 0] - b["target"]) ** 2),
    "hidden layers in range": normalized_noise,
    "scaled targets": scaled_targets,
    "hinge": hinge,
    "critic": critic,
    "policy gradient": policy,
    "q-learning": q_values,
    "penalty": penalized,
    "mean of outputs": lambda p, b: jnp.mean(logits(p, b)),
    "max margin": lambda p, b: jnp.mean(
        jax.nn.logsumexp(logits(p, b), -1) - jnp.sum(logits(p, b) * b["onehot"], -1)
    ),
    "labels of a closed layer": lambda p, b: entropy(logits(p, b) * (b["onehot"] + 1), b),
}  # fmt: skip


@pytest.mark.parametrize("name", TWICE)
def test_a_second_normalization_is_seen(name: str) -> None:
    assert faults(TWICE[name]) == [OutputFault.NORMALIZED_TWICE]


@pytest.mark.parametrize("name", HEALTHY)
def test_what_looks_alike_and_fits_is_not(name: str) -> None:
    assert faults(HEALTHY[name]) == []


def test_a_second_softmax_says_how_many_classes_there_are() -> None:
    (found,) = objective(TWICE["optax"]).outputs
    assert (found.function, found.applied, found.classes) == ("softmax", "softmax", C)
    (found,) = objective(TWICE["sigmoid, then sigmoid"]).outputs
    assert (found.function, found.applied, found.classes) == ("sigmoid", "sigmoid", 0)


@pytest.mark.parametrize("how", [jax.nn.softmax, jax.nn.log_softmax, by_hand])
def test_a_softmax_over_one_unit_is_seen(how: Any) -> None:
    assert faults(lambda p, b: jnp.mean((how(unit(p, b))[:, 0] - b["positive"] / 9) ** 2)) == [
        OutputFault.SINGLE_UNIT
    ]


RANGED = {
    "relu": (lambda p, b: jnp.mean((jax.nn.relu(unit(p, b))[:, 0] - b["target"]) ** 2), 0.0, np.inf),
    "maximum": (lambda p, b: jnp.sum(jnp.abs(b["target"] - jnp.maximum(unit(p, b), 0)[:, 0])), 0.0, np.inf),
    "sigmoid": (lambda p, b: optax.l2_loss(jax.nn.sigmoid(unit(p, b))[:, 0], b["target"]).mean(), 0.0, 1.0),
    "tanh": (lambda p, b: optax.huber_loss(jnp.tanh(unit(p, b)).squeeze(-1), b["target"]).mean(), -1.0, 1.0),
    "shifted": (
        lambda p, b: jnp.mean((2 * jax.nn.sigmoid(unit(p, b))[:, 0] - 1 - b["target"]) ** 2),
        -1.0,
        1.0,
    ),
    "vmap": (
        lambda p, b: jnp.mean(jax.vmap(lambda u, t: (jax.nn.relu(u[0]) - t) ** 2)(unit(p, b), b["target"])),
        0.0,
        np.inf,
    ),
}


@pytest.mark.parametrize("name", RANGED)
def test_targets_outside_of_an_outputs_range_are_counted(name: str) -> None:
    loss, low, high = RANGED[name]
    (found,) = objective(loss).outputs
    t = BATCH["target"].astype(np.float64)
    missed = t - np.clip(t, low, high)
    assert (found.fault, found.low, found.high) == (OutputFault.OUT_OF_RANGE, low, high)
    assert found.outside == pytest.approx(np.mean(missed != 0))
    assert found.unexplained == pytest.approx(np.mean(missed**2) / t.var(), rel=1e-5)
    assert (found.smallest, found.largest) == pytest.approx((t.min(), t.max()))


def test_targets_that_the_loss_makes_of_the_batch_are_computed() -> None:
    (found,) = objective(
        lambda p, b: jnp.mean((jax.nn.relu(unit(p, b))[:, 0] - (b["positive"] - 9)) ** 2)
    ).outputs
    assert found.outside == 1
    assert not faults(lambda p, b: jnp.mean((jax.nn.relu(unit(p, b))[:, 0] - jnp.exp(b["target"])) ** 2))


ENDLESS = {
    "one-hot": (lambda p, b: -jnp.mean(jnp.sum(logits(p, b) * b["onehot"], axis=1)), True),
    "integers": (lambda p, b: -jnp.mean(logits(p, b)[jnp.arange(N), b["y"]]), True),
    "take_along_axis": (lambda p, b: -jnp.mean(jnp.take_along_axis(logits(p, b), b["y"][:, None], 1)), True),
    "made one-hot": (lambda p, b: -jnp.mean(jnp.sum(logits(p, b) * jax.nn.one_hot(b["y"], C), -1)), True),
    "targets": (lambda p, b: -jnp.mean(unit(p, b)[:, 0] * b["target"]), False),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_loss_that_is_affine_in_the_last_layer_has_no_minimum(name: str) -> None:
    loss, labels = ENDLESS[name]
    (found,) = objective(loss).outputs
    assert (found.fault, found.class_labels) == (OutputFault.NO_MINIMUM, labels)
    assert {"w2", "one"} & set(found.parameters)
    assert "w1" not in found.parameters


def chosen(p: Any, b: Any) -> Any:
    return jnp.take_along_axis(log_softmax(p, b), b["y"][:, None], axis=1)


def less_the_rest(z: Any, b: Any) -> Any:
    return jnp.mean(jax.nn.logsumexp(z, 1) - z[jnp.arange(N), b["y"]])


def masked(p: Any, b: Any) -> Any:
    found = log_softmax(p, b)[jnp.arange(N), b["y"]]
    return jnp.sum(jnp.where(b["y"] > 0, found, 0.0)) / N


def smoothed(p: Any, b: Any) -> Any:
    return optax.softmax_cross_entropy(logits(p, b), 0.9 * b["onehot"] + 0.1 / C).mean()


def by_token(p: Any, b: Any) -> Any:
    return jax.vmap(lambda x, y: jax.nn.log_softmax(jax.nn.relu(x @ p["w1"]) @ p["w2"])[y])(b["x"], b["y"])


MAXIMIZED = {
    "take_along_axis": lambda p, b: -jnp.mean(chosen(p, b)),
    "indexed": lambda p, b: -jnp.mean(log_softmax(p, b)[jnp.arange(N), b["y"]]),
    "one-hot": lambda p, b: -jnp.mean(jnp.sum(log_softmax(p, b) * b["onehot"], 1)),
    "smoothed": smoothed,
    "optax": lambda p, b: entropy(logits(p, b), b),
    "less the log of the sum": lambda p, b: less_the_rest(logits(p, b), b),
    "masked": lambda p, b: -masked(p, b),
    "vmap": lambda p, b: -by_token(p, b).mean(),
    "a penalty beside it": lambda p, b: 0.01 * jnp.sum(p["w2"] ** 2) + entropy(logits(p, b), b),
}


@pytest.mark.parametrize("name", MAXIMIZED)
def test_a_likelihood_that_is_minimized_is_told_and_its_negative_is_not(name: str) -> None:
    loss = MAXIMIZED[name]
    assert faults(loss) == []
    (found,) = objective(lambda p, b: -loss(p, b)).outputs
    assert (found.fault, found.classes, found.layer) == (OutputFault.LIKELIHOOD, C, "w2")


def bernoulli(p: Any, b: Any) -> Any:
    q = jax.nn.sigmoid(logits(p, b))
    return -jnp.mean(b["onehot"] * jnp.log(q + 1e-7) + (1 - b["onehot"]) * jnp.log(1 - q + 1e-7))


def binary(p: Any, b: Any) -> Any:
    return optax.sigmoid_binary_cross_entropy(logits(p, b), b["onehot"])


BINARY: dict[str, Any] = {
    "optax": lambda p, b: binary(p, b).mean(),
    "a sum": lambda p, b: binary(p, b).sum(),
    "by hand": bernoulli,
    "jit": jax.jit(bernoulli),
    "a penalty beside it": lambda p, b: binary(p, b).mean() + 0.01 * jnp.sum(p["w2"] ** 2),
}


@pytest.mark.parametrize("name", BINARY)
def test_a_binary_likelihood_that_is_minimized_is_told_once_and_its_negative_is_not(name: str) -> None:
    loss = BINARY[name]
    assert faults(loss) == []
    (found,) = objective(lambda p, b: -loss(p, b)).outputs
    assert (found.fault, found.classes, found.layer) == (OutputFault.LIKELIHOOD, 1, "w2")


APART: dict[str, Any] = {
    "squared": lambda p, b: jnp.mean((logits(p, b) - b["onehot"]) ** 2),
    "square": lambda p, b: jnp.sum(jnp.square(b["onehot"] - logits(p, b))),
    "a product": lambda p, b: (lambda d: jnp.sum(d * d))(logits(p, b) - b["onehot"]),
    "optax": lambda p, b: optax.l2_loss(logits(p, b), b["onehot"]).mean(),
    "absolute": lambda p, b: jnp.abs(logits(p, b) - b["onehot"]).mean(),
    "of a known deviation": lambda p, b: 0.5 * jnp.sum(((logits(p, b) - b["onehot"]) / 0.3) ** 2),
    "a penalty beside it": lambda p, b: APART["squared"](p, b) + 0.01 * jnp.sum(p["w2"] ** 2),
}


@pytest.mark.parametrize("name", APART)
def test_a_distance_that_is_maximized_is_told_and_its_negative_is_not(name: str) -> None:
    loss = APART[name]
    assert OutputFault.DISTANCE not in {each.fault for each in objective(loss).outputs}
    (found,) = (
        each
        for each in objective(lambda p, b: -loss(p, b)).outputs
        if each.fault is not OutputFault.NO_MINIMUM
    )
    assert (found.fault, found.layer) == (OutputFault.DISTANCE, "w2")


SIGNED = np.random.default_rng(1).normal(size=(N, C)).astype(np.float32)
BOUNDED: dict[str, Any] = {
    "against another term": lambda p, b: entropy(logits(p, b), b) - 0.1 * binary(p, b).mean(),
    "two distances": lambda p, b: APART["squared"](p, b) - 0.5 * jnp.mean((logits(p, b) - SIGNED) ** 2),
    "a similarity": lambda p, b: -jnp.mean(jnp.exp(-((logits(p, b) - b["onehot"]) ** 2))),
    "weighed by the data": lambda p, b: -jnp.mean(SIGNED * (logits(p, b) - b["onehot"]) ** 2),
    "rewards of both signs": lambda p, b: -jnp.mean(SIGNED * jax.nn.log_sigmoid(logits(p, b))),
    "a gain": lambda p, b: -jnp.mean(5.0 * b["onehot"] * jax.nn.log_sigmoid(logits(p, b)) - 1.0) + 3.0,
    "between outputs": lambda p, b: -jnp.mean((logits(p, b) - logits(p, b)[::-1]) ** 2),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_a_loss_that_something_keeps_from_falling_is_not_told(name: str) -> None:
    told = {each.fault for each in objective(BOUNDED[name]).outputs}
    assert not told & {OutputFault.DISTANCE, OutputFault.LIKELIHOOD}


PARTS = ("masked", "a penalty beside it", "smoothed")


@pytest.mark.parametrize("name", MAXIMIZED)
def test_a_loss_that_is_the_mean_cross_entropy_of_labels_and_nothing_else(name: str) -> None:
    found = [each.classes for each in objective(MAXIMIZED[name]).cross_entropies]
    assert found == ([] if name in PARTS else [C])


def test_a_sum_over_the_batch_and_a_constant_beside_it_are_no_mean() -> None:
    assert objective(lambda p, b: N * entropy(logits(p, b), b)).cross_entropies == ()
    assert objective(lambda p, b: entropy(logits(p, b), b) + 3.0).cross_entropies == ()
    assert objective(lambda p, b: 0.0 + entropy(logits(p, b), b)).cross_entropies != ()


def test_an_adversary_a_reward_and_an_entropy_are_no_likelihood_that_is_minimized() -> None:
    def adversary(p: Any, b: Any) -> Any:
        return entropy(logits(p, b), b) - 0.1 * entropy(-hidden(p, b), b)

    def reward(p: Any, b: Any) -> Any:
        return jnp.mean(log_softmax(p, b)[jnp.arange(N), b["y"]] * b["positive"])

    def exploring(p: Any, b: Any) -> Any:
        return entropy(logits(p, b), b) + 0.01 * jnp.mean(jnp.sum(softmax(p, b) * log_softmax(p, b), 1))

    assert [faults(loss) for loss in (adversary, reward, exploring)] == [[], [], []]


@pytest.mark.parametrize("loss", [MAXIMIZED["optax"], MAXIMIZED["indexed"], MAXIMIZED["one-hot"]])
def test_scores_that_are_never_negative_are_told(loss: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(p: Any, b: Any) -> Any:
        return jax.nn.relu(hidden(p, b) @ p["w2"] + p["b2"])

    monkeypatch.setitem(globals(), "logits", cut)
    (found,) = objective(loss).outputs
    assert (found.fault, found.classes) == (OutputFault.NEVER_NEGATIVE, C)


def test_a_relu_before_the_last_layer_or_less_a_number_is_no_output() -> None:
    assert faults(lambda p, b: entropy(jax.nn.relu(logits(p, b)) @ jnp.ones((C, C)), b)) == []
    assert faults(lambda p, b: entropy(jax.nn.relu(logits(p, b)) - 3.0, b)) == []


class Classifier(eqx.Module):
    hidden: eqx.nn.Linear
    out: eqx.nn.Linear

    def __call__(self, x: Any) -> Any:
        return jax.nn.softmax(self.out(jax.nn.relu(self.hidden(x))))


def test_models_of_equinox_and_flax() -> None:
    keys = jax.random.split(jax.random.key(0))
    model = Classifier(eqx.nn.Linear(3, 8, key=keys[0]), eqx.nn.Linear(8, C, key=keys[1]))
    assert faults(lambda m, b: entropy(jax.vmap(m)(b["x"]), b), model) == [OutputFault.NORMALIZED_TWICE]
    net = linen.Sequential([linen.Dense(8), linen.relu, linen.Dense(1), linen.relu])
    params = net.init(jax.random.key(0), X)
    ranged = faults(lambda p, b: jnp.mean((net.apply(p, b["x"])[:, 0] - b["target"]) ** 2), params)
    assert ranged == [OutputFault.OUT_OF_RANGE]
    assert faults(lambda p, b: jnp.mean((net.apply(p, b["x"])[:, 0] - b["positive"]) ** 2), params) == []


def less_their_sum(p: Any, b: Any) -> Any:
    z = logits(p, b)
    return -jnp.mean((z - jax.nn.logsumexp(z, axis=-1, keepdims=True)) * b["onehot"])


AVERAGED = {
    "one-hot": lambda p, b: -jnp.mean(log_softmax(p, b) * b["onehot"]),
    "made one-hot": lambda p, b: -(jax.nn.one_hot(b["y"], C) * log_softmax(p, b)).mean(),
    "log of softmax": lambda p, b: -jnp.mean(b["onehot"] * jnp.log(softmax(p, b) + 1e-8)),
    "logits less their sum": less_their_sum,
    "one axis after the other": lambda p, b: -jnp.mean(jnp.mean(log_softmax(p, b) * b["onehot"], -1)),
    "smoothed": lambda p, b: -jnp.mean(log_softmax(p, b) * (0.9 * b["onehot"] + 0.1 / C)),
    "vmap": lambda p, b: jax.vmap(lambda q, y: -jnp.mean(q * y))(log_softmax(p, b), b["onehot"]).mean(),
    "with a penalty": lambda p, b: 1e-3 * jnp.sum(p["w1"] ** 2) - jnp.mean(log_softmax(p, b) * b["onehot"]),
    "bfloat16": lambda p, b: -jnp.mean((log_softmax(p, b) * b["onehot"]).astype(jnp.bfloat16)),
}  # fmt: skip

SUMMED = {
    "sum, then mean": lambda p, b: -jnp.mean(jnp.sum(log_softmax(p, b) * b["onehot"], -1)),
    "sum of all": lambda p, b: -jnp.sum(log_softmax(p, b) * b["onehot"]),
    "sum over the number of examples": lambda p, b: -jnp.sum(log_softmax(p, b) * b["onehot"]) / N,
    "optax": lambda p, b: optax.softmax_cross_entropy(logits(p, b), b["onehot"]).mean(),
    "mean times the classes": lambda p, b: -C * jnp.mean(log_softmax(p, b) * b["onehot"]),
    "several labels": lambda p, b: optax.sigmoid_binary_cross_entropy(logits(p, b), b["onehot"]).mean(),
    "advantages": lambda p, b: -jnp.mean(log_softmax(p, b) * (b["onehot"] * b["target"][:, None])),
}


@pytest.mark.parametrize("name", AVERAGED)
def test_a_mean_over_the_classes_is_seen_with_its_factor(name: str) -> None:
    (found,) = objective(AVERAGED[name]).class_averages
    assert (found.classes, found.factor) == (C, C)


@pytest.mark.parametrize("name", SUMMED)
def test_other_reductions_are_choices(name: str) -> None:
    assert objective(SUMMED[name]).class_averages == ()


def normalized(h: Any, mean: Any, variance: Any) -> Any:
    return (h - mean) / jnp.sqrt(variance + 1e-5)


def of_state(p: Any, b: Any) -> Any:
    h = normalized(b["x"] @ p["w1"], b["mean"], b["variance"])
    return jnp.mean((jax.nn.relu(h) @ p["one"] - b["target"][:, None]) ** 2)


def by_rsqrt(p: Any, b: Any) -> Any:
    h = jax.vmap(lambda h: (h - b["mean"]) * lax.rsqrt(b["variance"][None] + 1e-5)[0])(b["x"] @ p["w1"])
    return jnp.mean((jax.nn.relu(h) @ p["one"] - b["target"][:, None]) ** 2)


def of_batch(p: Any, b: Any) -> Any:
    h = b["x"] @ p["w1"]
    h = normalized(h, h.mean(0), h.var(0))
    return jnp.mean((h @ p["one"] - b["target"][:, None]) ** 2)


def noise(p: Any, b: Any) -> Any:
    """A standard deviation of 0 that multiplies."""
    return jnp.mean((unit(p, b) + jnp.sqrt(b["variance"] + 1e-5).sum() - b["target"][:, None]) ** 2)


def with_variance(variance: Any) -> dict[str, Any]:
    return BATCH | {"mean": np.zeros(8, np.float32), "variance": np.asarray(variance, np.float32)}


@pytest.mark.parametrize("loss", [of_state, by_rsqrt])
def test_a_divisor_that_is_an_empty_state_is_seen(loss: Any) -> None:
    (found,) = objective(loss, batch=with_variance(np.zeros(8))).unset_states
    assert (found.size, found.largest) == (8, 0.0)
    assert found.factor == pytest.approx(1e5**0.5)


@pytest.mark.parametrize("variance", [np.ones(8), np.r_[np.zeros(7), 0.3], np.full(8, 1e-3)])
def test_a_state_that_was_set_is_not(variance: Any) -> None:
    assert objective(of_state, batch=with_variance(variance)).unset_states == ()


@pytest.mark.parametrize("loss", [of_batch, noise])
def test_statistics_of_the_batch_and_other_roots_are_not(loss: Any) -> None:
    assert objective(loss, batch=with_variance(np.zeros(8))).unset_states == ()


def test_the_examples_are_what_the_parts_of_a_batch_share() -> None:
    state = {f"layer{i}": {"mean": np.zeros(4), "variance": np.zeros(4)} for i in range(3)}
    batch = {"x": X, "target": BATCH["target"], "state": state}
    problem = Problem(lambda p, b: jnp.mean((unit(p, b) - b["target"][:, None]) ** 2), PARAMS, batch)
    assert examples_of(Tracer(problem).trace(batch), batch) == N


TAGS = (RNG.random((N, C)) < 0.6).astype(np.float32)
TAGS[0] = 0
TAGGED = BATCH | {
    "tags": TAGS,
    "flags": TAGS.astype(np.int32),
    "weight": RNG.uniform(0.5, 2.0, (N, 1)).astype(np.float32),
    "squares": np.ones((N, N), np.float32),
}


def by_softmax(labels: Any) -> Any:
    def loss(p: Any, b: Any) -> Any:
        return optax.softmax_cross_entropy(logits(p, b), labels(b)).mean()

    return loss


SEVERAL = {
    "optax": by_softmax(lambda b: b["tags"]),
    "integers": by_softmax(lambda b: b["flags"]),
    "by hand": lambda p, b: -jnp.sum(b["tags"] * log_softmax(p, b)) / N,
    "for each row": lambda p, b: jnp.mean(
        jax.vmap(lambda x, t: optax.softmax_cross_entropy(logits(p, {"x": x}), t))(b["x"], b["tags"])
    ),
    "in half precision": lambda p, b: optax.softmax_cross_entropy(
        logits(p, b).astype(jnp.bfloat16), b["tags"].astype(jnp.bfloat16)
    ).mean(),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_several_labels_of_a_row_under_a_softmax(name: str) -> None:
    (fault,) = objective(SEVERAL[name], batch=TAGGED).outputs
    assert (fault.fault, fault.classes) == (OutputFault.SEVERAL_LABELS, C)
    counts = TAGS.sum(1)
    assert (fault.labelled, fault.several, fault.most) == (
        (counts > 0).sum(),
        (counts > 1).sum(),
        counts.max(),
    )


def of_what_it_gets(p: Any, b: Any) -> Any:
    scores = jnp.tanh(b["tags"] @ p["w2"].T) @ p["w2"]
    return -jnp.mean(jnp.sum(b["tags"] * jax.nn.log_softmax(scores), -1))


def of_other_examples(p: Any, b: Any) -> Any:
    alike = jax.nn.log_softmax(logits(p, b) @ logits(p, b).T)
    return -jnp.mean(jnp.sum(b["squares"] * alike, -1))


ONE_LABEL = {
    "one-hot": by_softmax(lambda b: b["onehot"]),
    "one-hot times a weight": by_softmax(lambda b: b["onehot"] * b["weight"]),
    "smoothed": by_softmax(lambda b: optax.smooth_labels(b["onehot"], 0.1)),
    "rows without a label": by_softmax(lambda b: b["onehot"] * (b["y"] > 1)[:, None]),
    "shares": by_softmax(lambda b: b["tags"] / jnp.maximum(b["tags"].sum(-1, keepdims=True), 1)),
    "by a sigmoid": lambda p, b: optax.sigmoid_binary_cross_entropy(logits(p, b), b["tags"]).mean(),
    "likelihood of its own input": of_what_it_gets,
    "several positives": of_other_examples,
    "mean over the positives": lambda p, b: (
        -jnp.mean(jnp.sum(b["tags"] * log_softmax(p, b), -1) / jnp.maximum(b["tags"].sum(-1), 1))
    ),
}


@pytest.mark.parametrize("name", ONE_LABEL)
def test_labels_that_a_softmax_can_give_are_quiet(name: str) -> None:
    assert OutputFault.SEVERAL_LABELS not in faults(ONE_LABEL[name], batch=TAGGED)
