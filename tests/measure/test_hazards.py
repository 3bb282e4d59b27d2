"""How near operands came, against NumPy; what is found inside every transformation; what stays silent."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gradscope import check
from gradscope.load.problem import Problem
from gradscope.measure.flow import FlowPass
from gradscope.records import Finding, Hazard, Report, Severity
from gradscope.trace.domains.intervals import find_hazards
from gradscope.trace.program import Tracer
from tests.trace.equations import tapped_equations
from tests.trace.intervals.spotting import BATCH, PARAMS, loss_of
from tests.trace.oracle import LAST_BITS

RULE = "unstable-expression"


def report(expression: Any, params: Any = PARAMS, batch: Any = BATCH, **options: Any) -> Report:
    return check(loss_of(expression), params, batch, select=(RULE, "non-finite"), **options)


def only(expression: Any, params: Any = PARAMS, batch: Any = BATCH) -> Hazard:
    (hazard,) = report(expression, params, batch).flow.hazards
    return hazard


def told(expression: Any, params: Any = PARAMS, batch: Any = BATCH) -> list[tuple[str, Severity]]:
    return [(str(f.evidence["kind"]), f.severity) for f in report(expression, params, batch).findings]


def probabilities(scale: float = 1.0) -> Any:
    z = BATCH["x"].astype(np.float64) @ PARAMS["w"].astype(np.float64) * scale
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def log_softmax(z: Any) -> Any:
    return jnp.log(jax.nn.softmax(z))


def through_scan(z: Any, b: Any) -> Any:
    return lax.scan(lambda carry, row: (carry, log_softmax(row)), 0.0, z)[1]


def through_nested_scans(z: Any, b: Any) -> Any:
    rows = z.reshape(4, 4, 4)
    return lax.scan(lambda c, part: (c, lax.scan(lambda d, r: (d, log_softmax(r)), 0.0, part)[1]), 0.0, rows)[
        1
    ]


def through_cond(z: Any, b: Any) -> Any:
    return lax.cond(b["y"][0] >= 0, log_softmax, jnp.sin, z)


def through_a_scan_of_conds(z: Any, b: Any) -> Any:
    def step(carry: Any, row: Any) -> Any:
        return carry + 1, lax.cond(carry >= 0, log_softmax, jnp.sin, row)

    return lax.scan(step, 0, z)[1]


THROUGH = {
    "nothing": lambda z, b: log_softmax(z),
    "jit": lambda z, b: jax.jit(log_softmax)(z),
    "jit in jit": lambda z, b: jax.jit(lambda z: jax.jit(log_softmax)(z) + 1)(z),
    "vmap": lambda z, b: jax.vmap(log_softmax)(z),
    "remat": lambda z, b: jax.checkpoint(log_softmax)(z),
    "scan": through_scan,
    "scan in scan": through_nested_scans,
    "cond": through_cond,
    "cond in scan": through_a_scan_of_conds,
    "a gradient inside the loss": lambda z, b: jax.grad(lambda z: (log_softmax(z) ** 2).sum())(z),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("how", THROUGH)
def test_the_smallest_probability_is_that_of_numpy_through(how: str) -> None:
    found = {h.kind: h for h in report(THROUGH[how]).flow.hazards}
    hazard = found["log-of-softmax"]
    assert hazard.nearest == pytest.approx(probabilities().min(), rel=1e-5)
    assert hazard.reached == pytest.approx(np.log(probabilities().min()) / np.log(2.0**-126), rel=1e-3)
    assert hazard.source is not None
    assert hazard.source.text == "return jnp.log(jax.nn.softmax(z))"
    assert hazard.layer == "w"


@pytest.mark.parametrize("around", ["shard_map", "cond in shard_map"])
def test_the_smallest_probability_is_that_of_numpy_over_all_devices(around: str) -> None:
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("rows")

    def inside(z: Any) -> Any:
        return log_softmax(z) if around == "shard_map" else lax.cond(z.sum() < 1e9, log_softmax, jnp.sin, z)

    def expression(z: Any, b: Any) -> Any:
        return jax.shard_map(inside, mesh=mesh, in_specs=spec, out_specs=spec)(z)

    found = {h.kind: h for h in report(expression).flow.hazards}
    assert found["log-of-softmax"].nearest == pytest.approx(probabilities().min(), rel=1e-5)


def test_the_smallest_of_several_batches_counts() -> None:
    small = {**BATCH, "x": 0.01 * BATCH["x"]}
    found = check(
        loss_of(lambda z, b: log_softmax(z)), PARAMS, batches=[small, BATCH, small], count=3, select=(RULE,)
    )
    (hazard,) = found.flow.hazards
    assert hazard.nearest == pytest.approx(probabilities().min(), rel=1e-5)


def test_a_branch_that_is_not_taken_says_nothing() -> None:
    assert report(lambda z, b: lax.cond(b["y"][0] < 0, log_softmax, jnp.sin, z)).flow.hazards == ()


def test_nothing_is_said_of_what_stands_inside_a_custom_rule() -> None:
    @jax.custom_jvp
    def safe_norm(z: Any) -> Any:
        return jnp.sqrt(jnp.sum(z**2, axis=-1))

    @safe_norm.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        ((z,), (t,)) = primals, tangents
        return safe_norm(z), jnp.sum(z * t, -1) / jnp.maximum(safe_norm(z), 1e-6)

    assert report(lambda z, b: safe_norm(z)).flow.hazards == ()


@pytest.mark.few(4)
@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (lambda z, b: jnp.exp(z), lambda z: z.max()),
        (lambda z, b: 1 / jnp.sin(z), lambda z: np.abs(np.sin(z)).min()),
        (lambda z, b: jnp.arctan2(z[:, 0], z[:, 1]), lambda z: np.abs(z[:, :2]).max(-1).min()),
        (lambda z, b: jnp.log1p(-(jnp.tanh(z) ** 2)), lambda z: (-(np.tanh(z) ** 2)).min()),
        (lambda z, b: jnp.arcsin(jnp.tanh(0.5 * z)), lambda z: np.abs(np.tanh(0.5 * z)).max()),
    ],
    ids=["exp", "division", "arctan2", "log1p", "arcsin"],
)
def test_the_nearest_operand_is_that_of_numpy(expression: Any, value: Any) -> None:
    z = BATCH["x"].astype(np.float64) @ PARAMS["w"].astype(np.float64)
    (hazard, *_) = report(expression).flow.hazards
    assert hazard.nearest == pytest.approx(value(z), rel=1e-4, abs=1e-6)


def test_probes_leave_the_loss_and_the_gradients_as_they_are_up_to_rounding() -> None:
    def expression(z: Any, b: Any) -> Any:
        d = jnp.linalg.norm(z, axis=-1, keepdims=True)
        return through_scan(z / d, b) + through_nested_scans(jnp.exp(0.1 * z), b).reshape(16, 4)

    problem = Problem(loss_of(expression), PARAMS, BATCH)
    samples, equations = [], []
    for watched in (False, True):
        tracer = Tracer(problem)
        program, inputs = tracer.trace(BATCH), tracer.inputs(BATCH)
        found = find_hazards(program, BATCH) if watched else ()
        equations.append(tapped_equations(program, inputs))
        samples.append(FlowPass(program, inputs)(inputs))
        assert len(samples[-1].probes) == len(found)
        assert bool(found) is watched
    assert equations[0] == equations[1]
    assert np.isfinite(samples[0].loss)
    assert samples[0].loss == pytest.approx(samples[1].loss, rel=LAST_BITS * float(np.finfo(np.float32).eps))
    assert samples[0].gradients[0].norm == pytest.approx(samples[1].gradients[0].norm, rel=1e-6)


def test_a_program_without_hazards_is_the_same_program() -> None:
    problem = Problem(loss_of(lambda z, b: jax.nn.log_softmax(z)), PARAMS, BATCH)
    tracer = Tracer(problem)
    program = tracer.trace(BATCH)
    assert find_hazards(program, BATCH) == ()
    assert not list(program.plan.all_probes())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_verdicts_are_the_same_in_every_precision(dtype: str) -> None:
    with jax.enable_x64(dtype == "float64"):
        cast = lambda tree: jax.tree.map(  # noqa: E731
            lambda a: jnp.asarray(a, dtype) if a.dtype.kind == "f" else jnp.asarray(a), tree
        )
        params, batch = cast(PARAMS), cast(BATCH)
        assert only(lambda z, b: jax.nn.relu(z) + log_softmax(0.3 * z), params, batch).dtype == dtype
        assert told(lambda z, b: log_softmax(0.3 * z), params, batch) == [("log-of-softmax", Severity.NOTE)]
        assert told(lambda z, b: jax.nn.log_softmax(z), params, batch) == []
        assert told(lambda z, b: z / jnp.linalg.norm(z, axis=-1, keepdims=True), params, batch) == []


@pytest.mark.few(2)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("copies", [1, 4])
def test_neither_the_scale_of_the_loss_nor_the_batch_moves_a_verdict(scale: float, copies: int) -> None:
    batch = {name: np.tile(value, (copies, *[1] * (value.ndim - 1))) for name, value in BATCH.items()}

    def expression(z: Any, b: Any) -> Any:
        large = jnp.exp(20 * jnp.tanh(z) + 50)
        return scale * (log_softmax(z) + z / jnp.linalg.norm(z, axis=-1, keepdims=True) + 1 / large)

    assert sorted(told(expression, batch=batch)) == [
        ("large-exponent", Severity.NOTE),
        ("log-of-softmax", Severity.NOTE),
    ]


def distances(z: Any, b: Any) -> Any:
    """Of each row to its neighbour, without a guard."""
    return jnp.sqrt(jnp.sum((z[1:] - z[:-1]) ** 2, axis=-1))


def nearly_met(z: Any, b: Any) -> Any:
    """The second row is the first but for its last bits."""
    return distances(jnp.concatenate([z[:1], z[:1] * (1 + 2.4e-7), z[2:]]), b)


NEAR = {
    "logits that lie far apart": ("log-of-softmax", "warning", lambda z, b: log_softmax(5 * z)),
    "a sigmoid that is nearly 1": (
        "log-of-sigmoid",
        "warning",
        lambda z, b: jnp.log(1 - jax.nn.sigmoid(1.5 * z)),
    ),
    "a large exponent": ("large-exponent", "note", lambda z, b: jnp.exp(jnp.tanh(z) + 50)),
    "a very large exponent": ("large-exponent", "warning", lambda z, b: jnp.exp(jnp.tanh(z) + 84) * 1e-30),
    "a softmax by hand of large logits": (
        "softmax-by-hand",
        "warning",
        lambda z, b: jnp.exp(z + 50) / jnp.exp(z + 50).sum(-1, keepdims=True),
    ),
    "a log of nearly 0": ("log-near-zero", "note", lambda z, b: jnp.log(1e-21 * z**2)),
    "a division by nearly 0": ("division-by-zero", "note", lambda z, b: z / (1e-20 * jnp.sin(b["mask"]))),
    "an angle between nearly parallel vectors": (
        "arccos-near-one",
        "warning",
        lambda z, b: jnp.arccos(jnp.clip(1e-9 * z + (1 - 3e-7), -1, 1)),
    ),
}


@pytest.mark.few(3)
@pytest.mark.parametrize("name", NEAR)
def test_an_operand_that_came_near_is_told(name: str) -> None:
    kind, severity, expression = NEAR[name]
    assert (kind, Severity(severity)) in told(expression)


def test_two_rows_that_nearly_meet_are_told_and_others_not() -> None:
    assert told(distances) == []
    (finding,) = report(nearly_met).findings
    assert (finding.evidence["kind"], finding.severity) == ("root-near-zero", Severity.WARNING)
    assert "rounding of its terms" in finding.message


def penalty(z: Any, b: Any) -> Any:
    slope = jax.grad(lambda z: jnp.sum(jnp.tanh(z)))(z)
    return (jnp.linalg.norm(slope, axis=-1) - 1) ** 2


def gaussian(z: Any, b: Any) -> Any:
    mean, log_std = z[:, :2], z[:, 2:]
    return log_std + 0.5 * ((b["mask"][:, :2] - mean) / jnp.exp(log_std)) ** 2


def kl(z: Any, b: Any) -> Any:
    mean, log_var = z[:, :2], z[:, 2:]
    return -0.5 * (1 + log_var - mean**2 - jnp.exp(log_var))


def dice(z: Any, b: Any) -> Any:
    p = jax.nn.sigmoid(z)
    return 1 - 2 * jnp.sum(p * b["mask"]) / (jnp.sum(p) + jnp.sum(b["mask"]))


def orbit(z: Any, b: Any) -> Any:
    r = jnp.sqrt((z[:, 0] + 9) ** 2 + z[:, 1] ** 2)
    return 1 / r**3 + jnp.arctan2(z[:, 1], z[:, 0] + 9)


def cross_entropy_by_hand(z: Any, b: Any) -> Any:
    """As TensorFlow writes it: the exponent is -|z|."""
    positive = z >= jnp.zeros_like(z)
    return jnp.where(positive, z, 0) - z * b["mask"][:, None] + jnp.log1p(jnp.exp(jnp.where(positive, -z, z)))


def sinkhorn(z: Any, b: Any) -> Any:
    kernel = jnp.exp(-((z[:, None, 0] - z[None, :, 0]) ** 2) / 10.0)
    u = jnp.ones(16) / 16

    def step(u: Any, _: Any) -> Any:
        v = 1 / (kernel.T @ u)
        return 1 / (kernel @ v), None

    return lax.scan(step, u, None, length=5)[0]


HEALTHY = {
    "gradient penalty": penalty,
    "cosine similarity": lambda z, b: (z / jnp.linalg.norm(z, axis=-1, keepdims=True)) @ z.T,
    "Gaussian with a log of its std": gaussian,
    "divergence of a VAE": kl,
    "importance ratio": lambda z, b: jnp.exp(jax.nn.log_softmax(z) - jax.nn.log_softmax(z + 0.1)),
    "Dice": dice,
    "orbit": orbit,
    "learned temperature": lambda z, b: jnp.exp(z[0, 0]) * z,
    "normalized advantages": lambda z, b: (z - z.mean()) / (z.std() + 1e-8),
    "standardized without an epsilon": lambda z, b: (z - z.mean(0)) / z.std(0),
    "mean over a mask": lambda z, b: jnp.sum(z * b["mask"]) / jnp.sum(b["mask"]),
    "Sinkhorn": sinkhorn,
    "sigmoid cross-entropy by hand": cross_entropy_by_hand,
    "square root of a softplus": lambda z, b: jnp.sqrt(jax.nn.softplus(z)),
    "log of a learned scale": lambda z, b: jnp.log(jnp.abs(z)),
    "sigmoid by hand": lambda z, b: 1 / (1 + jnp.exp(-z)),
}


@pytest.mark.few(6)
@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_expression_that_could_fail_is_measured_and_not_told(name: str) -> None:
    findings: tuple[Finding, ...] = report(HEALTHY[name]).findings
    assert [finding.message for finding in findings] == []


def test_a_masked_row_of_zeros_does_not_hide_the_others() -> None:
    x = BATCH["x"].copy()
    x[3] = 0

    def expression(z: Any, b: Any) -> Any:
        d = jnp.sum(b["x"] ** 2, axis=-1)
        return z * jnp.where(d > 0, 1 / d, 0.0)[:, None]

    (hazard,) = report(expression, batch={**BATCH, "x": x}).flow.hazards
    assert hazard.on_it == 1
    assert hazard.nearest == pytest.approx(np.delete((x**2).sum(-1), 3).min(), rel=1e-5)


def test_a_run_that_is_not_finite_is_told_as_such_alone() -> None:
    found = report(lambda z, b: jnp.log(jax.nn.softmax(1000 * z))).findings
    assert [finding.rule for finding in found] == ["non-finite"]


def test_several_hazards_of_one_line_are_one_finding() -> None:
    (finding,) = report(lambda z, b: jnp.log(jax.nn.sigmoid(z)) + jnp.log(1 - jax.nn.sigmoid(z))).findings
    assert finding.evidence["at_this_line"] == 2


def test_a_loss_without_a_batch_looks_at_the_data_it_closes_over() -> None:
    x, mask = BATCH["x"], np.zeros((16, 1100), np.float32)
    mask[0] = 1e-25

    def loss_fn(params: Any) -> Any:
        return jnp.mean(x @ params["w"]) / jnp.sum(jnp.asarray(mask))

    (hazard,) = check(loss_fn, PARAMS, select=(RULE,)).flow.hazards
    assert hazard.kind == "division-by-sum"


@pytest.mark.parametrize(("growth", "found"), [(0.0, []), (80.0, [("large-exponent", Severity.WARNING)])])
def test_of_a_complex_exponent_only_the_real_part_grows(growth: float, found: Any) -> None:
    assert told(lambda z, b: jnp.real(jnp.exp(100j * z + growth + jnp.tanh(z))) * 1e-30) == found


def test_a_difference_over_many_decades_is_not_blamed_for_the_rounding_of_its_largest() -> None:
    """Frequencies of a state-space kernel: 0.5 beside 3e10, each exact to its own rounding."""
    offsets = np.linspace(1.0, 100.0, BATCH["x"].shape[0]).astype(np.float32)[:, None]
    offsets[-1] = 3e10
    assert told(lambda z, b: 1.0 / (offsets - 0.1 * jnp.tanh(z))) == []


def test_an_exponent_of_zero_reads_zero() -> None:
    def loss(p: Any, b: Any) -> Any:
        scale = jnp.exp(p["w"])
        return jnp.sum(jnp.log(scale)) + jnp.sum(scale * b)

    params, batch = {"w": np.zeros(3, np.float32)}, np.ones(3, np.float32)
    nearest = {hazard.kind: hazard.nearest for hazard in check(loss, params, batch).flow.hazards}
    assert nearest == {"log-of-exp": 0.0, "log-near-zero": 1.0}


@pytest.mark.parametrize(
    ("loss", "kind", "form"),
    [
        (lambda z, b: jnp.log(jax.nn.softmax(z)), "log-of-softmax", "whole"),
        (lambda z, b: jnp.log(1 - jax.nn.softmax(z)), "log-of-softmax", "complement"),
        (lambda z, b: jnp.log(jax.nn.softmax(z)[jnp.arange(2), jnp.arange(2)]), "log-of-softmax", "gathered"),
        (
            lambda z, b: jnp.log(jnp.take_along_axis(jax.nn.softmax(z), jnp.zeros((len(z), 1), int), 1)),
            "log-of-softmax",
            "gathered",
        ),
        (lambda z, b: jnp.log(jax.nn.sigmoid(z)), "log-of-sigmoid", "whole"),
        (lambda z, b: jnp.log(1 - jax.nn.sigmoid(z)), "log-of-sigmoid", "complement"),
        (lambda z, b: jnp.log1p(-jax.nn.sigmoid(z)), "log-of-sigmoid", "complement"),
    ],
)
def test_what_the_log_is_taken_of_is_told(loss: Any, kind: str, form: str) -> None:
    (hazard,) = report(loss).flow.hazards
    assert (hazard.kind, hazard.form) == (kind, form)
