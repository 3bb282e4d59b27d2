"""What an optimizer does with which leaves, told by asking it; and decay that holds the loss up."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from gradscope.records import ParameterGroup, Report
from gradscope.runs.check import check_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 8)).astype(np.float32)
LABELS = (np.abs(X) @ RNG.normal(size=(8, 3))).argmax(1)
KEYS = jax.random.split(jax.random.PRNGKey(0), 3)
PARAMS = {
    "body": {"w": jax.random.normal(KEYS[0], (8, 32)) / 2, "b": jnp.zeros(32)},
    "norm": {"g": jnp.ones(32)},
    "head": {"w": jax.random.normal(KEYS[1], (32, 3)) / 6, "b": jnp.zeros(3)},
}
MATRICES = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)  # noqa: E731
BODY_ONLY = lambda params: {name: name == "body" for name in params}  # noqa: E731


def loss(params: Any, batch: Any) -> Any:
    h = batch[0] @ params["body"]["w"] + params["body"]["b"]
    h = jax.nn.relu(h / jnp.sqrt(jnp.mean(h**2, axis=1, keepdims=True) + 1e-6) * params["norm"]["g"])
    logits = h @ params["head"]["w"] + params["head"]["b"]
    return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()


def checked(optimizer: Any, params: Any = PARAMS, of: Any = loss, **options: Any) -> Report:
    return check_loss(of, params, (X, LABELS), optimizer=optimizer, **options)


def groups(optimizer: Any, params: Any = PARAMS, **options: Any) -> list[ParameterGroup]:
    training = checked(optimizer, params, steps=options.pop("steps", 3), **options).training
    assert training is not None
    return list(training.groups)


def rules(report: Report) -> list[str]:
    return [finding.rule for finding in report.findings]


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        (optax.adam(1e-3), ("fixed", 1e-3, False, 0.0)),
        (optax.sgd(0.1, momentum=0.9), ("proportional", 0.1, False, 0.0)),
        (optax.adamw(1e-3, weight_decay=0.1), ("fixed", 1e-3, True, 1e-4)),
        (
            optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3, weight_decay=0.1)),
            ("fixed", 1e-3, True, 1e-4),
        ),
        (optax.lion(1e-4, weight_decay=0.1), ("fixed", 1e-4, True, 1e-5)),
        (optax.chain(optax.add_decayed_weights(1e-2), optax.sgd(0.1)), ("proportional", 0.1, True, 1e-3)),
        (optax.chain(optax.add_decayed_weights(1e-2), optax.adam(1e-3)), ("fixed", 1e-3, True, None)),
        (optax.MultiSteps(optax.adamw(1e-3, weight_decay=0.1), 3), ("fixed", 1e-3, True, 1e-4)),
        (optax.adam(optax.linear_schedule(0.0, 1e-3, 10)), ("fixed", 1e-4, False, 0.0)),
        (optax.lamb(1e-3, weight_decay=0.1), ("other", None, True, 1e-3)),
        (optax.adafactor(1e-3), ("other", None, False, 0.0)),
        (optax.noisy_sgd(0.1, key=0), ("other", None, False, None)),
    ],
)
def test_rate_and_decay_are_read_off_what_it_answers(optimizer: Any, told: Any) -> None:
    (group,) = groups(optimizer)
    assert (group.transform, group.rate, group.decayed, group.decay) == pytest.approx(told)
    assert group.size == sum(leaf.size for leaf in jax.tree.leaves(PARAMS))


def test_labels_masks_and_frozen_parts_are_told_apart() -> None:
    labels = {"body": "sgd", "norm": "keep", "head": "adamw"}
    parts = {"sgd": optax.sgd(0.1), "keep": optax.set_to_zero(), "adamw": optax.adamw(1e-2, weight_decay=0.1)}
    body, head, norm = groups(optax.multi_transform(parts, labels))
    assert (body.leaves, body.transform, body.rate) == (("body.b", "body.w"), "proportional", 0.1)
    assert (head.leaves, head.transform, head.decay) == (("head.b", "head.w"), "fixed", 1e-3)
    assert (norm.leaves, norm.transform, norm.rate) == (("norm.g",), "frozen", None)


@pytest.mark.parametrize(
    ("dtype", "optimizer"),
    [(jnp.bfloat16, optax.adamw), (jnp.bfloat16, optax.lion), (jnp.float16, optax.lion)],
)
def test_half_precision_tells_the_same(dtype: Any, optimizer: Any) -> None:
    """Adam in float16 is none of them: the squares that it keeps are rounded to 0."""
    params = jax.tree.map(lambda p: p.astype(dtype), PARAMS)
    (group,) = groups(optimizer(1e-2, weight_decay=0.1), params)
    assert (group.transform, group.decayed) == ("fixed", True)
    assert (group.rate, group.decay) == (pytest.approx(1e-2, rel=0.05), pytest.approx(1e-3, rel=0.05))


def test_without_an_optimizer_of_its_own_there_are_no_groups() -> None:
    assert groups(None) == []


def test_matrices_that_are_left_out_of_the_decay_are_named() -> None:
    report = checked(optax.adamw(1e-3, weight_decay=0.1, mask=BODY_ONLY), steps=3)
    (finding,) = [each for each in report.findings if each.rule == "undecayed-weights"]
    assert (finding.severity.value, finding.layer, finding.parameter) == ("note", "head", "head.w")
    assert "decays 1 weight matrix (a step takes up to 0.0001 of each weight)" in finding.message


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adamw(1e-3, weight_decay=0.1, mask=MATRICES),
        optax.chain(optax.add_decayed_weights(1e-2, MATRICES), optax.sgd(0.1)),
        optax.adam(1e-3),
        optax.adamw(1e-3),  # a decay of 1e-7 a step
        optax.adamw(1e-3, weight_decay=0.0),
        optax.lamb(1e-3),
    ],
)
def test_usual_optimizers_are_quiet(optimizer: Any) -> None:
    assert not {"undecayed-weights", "decayed-norm", "weight-decay-too-high"} & set(rules(checked(optimizer)))


def test_a_frozen_body_is_not_told_as_left_out() -> None:
    labels = {"body": "keep", "norm": "keep", "head": "train"}
    parts = {"keep": optax.set_to_zero(), "train": optax.adamw(1e-2, weight_decay=0.1)}
    found = rules(checked(optax.multi_transform(parts, labels), steps=3))
    assert "not-updated" in found
    assert "undecayed-weights" not in found


def test_a_table_of_embeddings_may_be_left_out() -> None:
    params = {"table": RNG.normal(size=(11, 8)).astype(np.float32), "w": PARAMS["head"]["w"][:8]}

    def of(params: Any, batch: Any) -> Any:
        logits = params["table"][batch[1]] @ params["w"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    mask = {"table": False, "w": True}
    assert "undecayed-weights" not in rules(
        checked(optax.adamw(1e-3, weight_decay=0.1, mask=mask), params, of, steps=3)
    )


def test_a_normalization_that_decays_is_named_in_any_framework() -> None:
    model = linen.Sequential([linen.Dense(16), linen.LayerNorm(), linen.relu, linen.Dense(3)])
    optimizer = optax.adamw(1e-3, weight_decay=0.1)

    def of_linen(params: Any, batch: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model.apply(params, batch[0]), batch[1]).mean()

    def of_equinox(model: Any, batch: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(model)(batch[0]), batch[1]).mean()

    def of_nnx(model: Any, batch: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]).mean()

    module = eqx.nn.Sequential(
        [
            eqx.nn.Linear(8, 16, key=KEYS[0]),
            eqx.nn.LayerNorm(16),
            eqx.nn.Lambda(jax.nn.relu),
            eqx.nn.Linear(16, 3, key=KEYS[1]),
        ]
    )
    rngs = nnx.Rngs(0)
    stack = nnx.Sequential(
        nnx.Linear(8, 16, rngs=rngs), nnx.RMSNorm(16, rngs=rngs), nnx.Linear(16, 3, rngs=rngs)
    )
    for params, of, named in (
        (PARAMS, loss, "norm.g"),
        (model.init(KEYS[2], X), of_linen, "scale"),
        (module, of_equinox, "weight"),
        (stack, of_nnx, "scale"),
    ):
        found = [
            each for each in checked(optimizer, params, of, steps=3).findings if each.rule == "decayed-norm"
        ]
        assert len(found) == 1, of
        assert named in found[0].message
        assert "a step takes 0.0001 of each number" in found[0].message


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adamw(1e-3, weight_decay=100.0),
        optax.adamw(1e-2, weight_decay=100.0, mask=MATRICES),
        optax.chain(optax.add_decayed_weights(1.0), optax.sgd(0.3)),
        optax.chain(optax.add_decayed_weights(10.0), optax.adam(1e-2)),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-2, weight_decay=50.0)),
    ],
)
def test_decay_that_holds_the_loss_up_is_an_error(optimizer: Any) -> None:
    report = checked(optimizer)
    finding = next(each for each in report.findings if each.rule == "weight-decay-too-high")
    assert finding.severity.value == "error"
    assert report.findings[0] == finding
    evidence = finding.evidence
    assert evidence["loss_after_without_decay"] < evidence["loss_after"]


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adamw(1e-3, weight_decay=1.0),
        optax.adamw(1e-2, weight_decay=0.1),
        optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(0.1, momentum=0.9)),
        optax.chain(optax.add_decayed_weights(1e-2), optax.adam(1e-3)),
        optax.contrib.schedule_free_adamw(1e-2, weight_decay=1.0),
        optax.lars(0.1, weight_decay=1e-4),
    ],
)
def test_usual_decay_is_quiet(optimizer: Any) -> None:
    report = checked(optimizer)
    assert "weight-decay-too-high" not in rules(report)
    assert report.verdict == "healthy"


def test_the_verdict_does_not_move_with_the_scale_of_the_loss_of_adam() -> None:
    def scaled(params: Any, batch: Any) -> Any:
        return 1e4 * loss(params, batch)

    assert rules(checked(optax.adamw(1e-3, weight_decay=100.0), of=scaled))[0] == "weight-decay-too-high"
    assert "weight-decay-too-high" not in rules(checked(optax.adamw(1e-3, weight_decay=0.1), of=scaled))


def test_trained_weights_where_gradient_and_decay_are_equal_are_quiet() -> None:
    x = np.random.default_rng(1).normal(size=(256, 8)).astype(np.float32)
    batch = x, (2 * x[:, 0] + np.abs(x[:, 1]) > 1).astype(np.int32)

    def of(params: Any, batch: Any) -> Any:
        logits = jnp.tanh(batch[0] @ params["up"]) @ params["down"]
        return optax.softmax_cross_entropy_with_integer_labels(logits, batch[1]).mean()

    optimizer = optax.chain(optax.add_decayed_weights(3e-3), optax.sgd(0.3, momentum=0.9))

    def step(_: Any, now: Any) -> Any:
        params, state = now
        updates, state = optimizer.update(jax.grad(of)(params, batch), state, params)
        return optax.apply_updates(params, updates), state

    params = {"up": jax.random.normal(KEYS[0], (8, 32)) / 3, "down": jax.random.normal(KEYS[1], (32, 2)) / 6}
    trained, _ = jax.jit(lambda now: jax.lax.fori_loop(0, 1500, step, now))((params, optimizer.init(params)))
    report = check_loss(of, trained, batch, optimizer=optimizer)
    tried = report.training.undecayed if report.training else None
    assert tried is not None
    assert tried.at_zero == pytest.approx(np.log(2), abs=1e-4)
    assert "weight-decay-too-high" not in rules(report)
