"""The training step of a file on several devices: sick ones, and healthy ones that look like them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState
from jax import lax
from jax.sharding import Mesh, PartitionSpec as P

from gradscope import Problem
from gradscope.records import Skipped
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check_problem
from gradscope.trace.program import Tracer
from gradscope.training.norms_of_devices import norms_of_devices
from gradscope.training.step_on_devices import StepOnDevices, diverged_after, scaled_gradient, step_on_devices

MESH = Mesh(np.array(jax.devices()[:4]), ("data",))
GRID = Mesh(np.array(jax.devices()[:4]).reshape(2, 2), ("data", "model"))
RNG = np.random.default_rng(0)
X = (RNG.normal(size=(16, 6)) * np.linspace(0.2, 3, 16)[:, None]).astype(np.float32)
BATCH = X, RNG.normal(size=(16, 2)).astype(np.float32)
PARAMS = {
    "w": jnp.asarray(RNG.normal(size=(6, 8)) / 2, jnp.float32),
    "v": jnp.asarray(RNG.normal(size=(8, 2)) / 2, jnp.float32),
}
SPLIT = {"w": P(None, "model"), "v": P("model", None)}
ADAM, SGD = optax.adam(1e-3), optax.sgd(1e-2)
CLIPPED = optax.chain(optax.clip_by_global_norm(0.1), ADAM)
Step = Callable[..., Any]
Local = Callable[..., Any]


def loss_fn(params: Any, batch: Any) -> Any:
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w"]) @ params["v"] - y) ** 2)


def step(optimizer: Any, gradients: Local, mesh: Mesh = MESH, checked: bool = False) -> Step:
    """`gradients` gives them on each device."""

    def local(params: Any, opt_state: Any, batch: Any) -> Any:
        updates, opt_state = optimizer.update(gradients(params, batch), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    def train_step(params: Any, opt_state: Any, batch: Any) -> Any:
        of_params: Any = SPLIT if mesh is GRID else P()
        of_state = optax.tree_map_params(
            optimizer, lambda _, spec: spec, opt_state,
            SPLIT if mesh is GRID else jax.tree.map(lambda _: P(), params),
            transform_non_params=lambda _: P(),
        )  # fmt: skip
        specs = (of_params, of_state, P("data"))
        mapped = jax.shard_map(local, mesh=mesh, in_specs=specs, out_specs=specs[:2], check_vma=checked)
        return jax.jit(mapped, donate_argnums=(0, 1))(params, opt_state, batch)

    return train_step


def taken(how: Local, params: Any, batch: Any) -> Any:
    return jax.tree.map(lambda each: how(each, "data"), jax.grad(loss_fn)(params, batch))


def clipped(gradients: Any, norm: Any, to: float) -> Any:
    return jax.tree.map(lambda each: each * jnp.minimum(1.0, to / norm), gradients)


def clipped_first(to: float, params: Any, batch: Any) -> Any:
    own = jax.grad(loss_fn)(params, batch)
    return lax.pmean(clipped(own, optax.tree.norm(own), to), "data")


def mean_of_losses(params: Any, batch: Any) -> Any:
    return jax.grad(lambda p: lax.pmean(loss_fn(p, batch), "data"))(params)


def of_parts(clip: float | None, params: Any, batch: Any) -> Any:
    x, y = batch

    def loss(p: Any) -> Any:
        return jnp.mean((whole(jnp.tanh(x @ p["w"]) @ p["v"]) - y) ** 2)

    gradients = lax.pmean(jax.grad(loss)(params), "data")
    if clip is None:
        return gradients
    squares = sum(jnp.sum(each**2) for each in jax.tree.leaves(gradients))
    return clipped(gradients, jnp.sqrt(lax.psum(squares, "model")), clip)


@jax.custom_vjp
def whole(part: Any) -> Any:
    """Summed over the parts of the model; its gradient is the same on each of them (Megatron-LM's g)."""
    return lax.psum(part, "model")


whole.defvjp(lambda part: (whole(part), None), lambda _, ct: (ct,))


def traced(train_step: Step, optimizer: Any) -> tuple[StepOnDevices, tuple[Any, ...]]:
    return traced_of(Problem(loss_fn, PARAMS, BATCH, optimizer=optimizer, train_step=train_step))


def traced_of(problem: Problem) -> tuple[StepOnDevices, tuple[Any, ...]]:
    tracer = Tracer(problem)
    inputs, program = tracer.inputs(BATCH), tracer.trace(BATCH)
    own = step_on_devices(problem, tracer, inputs, BATCH)
    assert isinstance(own, StepOnDevices), own
    return own, (program, inputs)


@pytest.mark.parametrize("optimizer", [SGD, ADAM], ids=["sgd", "adam"])
def test_a_sum_of_gradients_is_as_many_times_too_large(optimizer: Any) -> None:
    own, given = traced(step(optimizer, partial(taken, lax.psum)), optimizer)
    found = scaled_gradient(own, *given)
    assert found is not None
    assert (found.factor, found.axes, found.devices) == (4.0, ("data",), 4)
    assert found.apart < 1e-4
    assert (found.params_apart > 1) == (optimizer is SGD)
    assert found.source is not None
    assert "how(each" in found.source.text
    assert list(diverged_after(own, given[0])) == []


def test_a_mean_after_the_sum_that_jax_makes_is_told() -> None:
    own, given = traced(step(SGD, partial(taken, lax.pmean), checked=True), SGD)
    found = scaled_gradient(own, *given)
    assert found is not None
    assert found.factor == 4.0


def test_a_gradient_that_is_divided_twice_is_told() -> None:
    twice = partial(taken, lambda each, axis: lax.pmean(each, axis) / lax.axis_size(axis))
    own, given = traced(step(SGD, twice), SGD)
    found = scaled_gradient(own, *given)
    assert found is not None
    assert found.factor == 0.25


@pytest.mark.parametrize(
    ("gradients", "checked"),
    [(partial(taken, lax.pmean), False), (mean_of_losses, True)],
    ids=["pmean", "mean of losses"],
)
def test_the_mean_of_the_gradients_is_quiet(gradients: Local, checked: bool) -> None:
    own, given = traced(step(CLIPPED, gradients, checked=checked), CLIPPED)
    assert scaled_gradient(own, *given) is None
    assert list(norms_of_devices(own)) == []
    assert list(diverged_after(own, given[0])) == []


def test_gradients_that_stay_apart_part_the_params() -> None:
    own, given = traced(step(SGD, partial(taken, lambda each, axis: each)), SGD)
    (found,) = diverged_after(own, given[0])
    assert (found.name, found.axes, found.differing, found.own_step) == ("v", ("data",), 3, True)
    assert scaled_gradient(own, *given) is None


def test_clipping_a_part_by_its_own_norm_is_told_with_the_norms_of_all() -> None:
    own, _ = traced(step(CLIPPED, partial(of_parts, None), GRID), CLIPPED)
    (found,) = norms_of_devices(own)
    gradient = jax.grad(loss_fn)(PARAMS, BATCH)
    parts = [
        float(jnp.sqrt(jnp.sum(gradient["w"][:, cut] ** 2) + jnp.sum(gradient["v"][cut] ** 2)))
        for cut in (slice(0, 4), slice(4, 8))
    ]
    assert (found.axes, found.devices, found.parts) == (("model",), 2, True)
    assert (found.lowest, found.highest) == pytest.approx((min(parts), max(parts)), rel=1e-4)
    assert found.together == pytest.approx(float(optax.tree.norm(gradient)), rel=1e-4)
    assert found.changed > 0.5


def test_clipping_parts_by_the_norm_of_all_is_quiet() -> None:
    own, _ = traced(step(ADAM, partial(of_parts, 0.1), GRID), ADAM)
    assert list(norms_of_devices(own)) == []


def test_clipping_before_the_mean_is_told_with_the_norm_of_each() -> None:
    own, _ = traced(step(ADAM, partial(clipped_first, 0.1)), ADAM)
    (found,) = norms_of_devices(own)
    norms = [
        float(optax.tree.norm(jax.grad(loss_fn)(PARAMS, jax.tree.map(lambda a, i=i: a[i : i + 4], BATCH))))
        for i in range(0, 16, 4)
    ]
    assert (found.axes, found.devices, found.parts) == (("data",), 4, False)
    assert (found.lowest, found.highest) == pytest.approx((min(norms), max(norms)), rel=1e-4)
    assert found.together == pytest.approx(np.mean(norms), rel=1e-4)


def test_clipping_that_does_nothing_is_quiet() -> None:
    own, _ = traced(step(ADAM, partial(clipped_first, 1e4)), ADAM)
    assert list(norms_of_devices(own)) == []


def zero(globally: bool) -> Step:
    """Each device steps a quarter of the rows of `w`, whose gradient is scattered, and all gather them."""

    def local(params: Any, opt_state: Any, batch: Any) -> Any:
        def own(w: Any) -> Any:
            return lax.dynamic_slice_in_dim(w, 2 * lax.axis_index("data"), 2)

        gradient = jax.grad(loss_fn)(params, batch)["w"]
        part = lax.psum_scatter(jnp.pad(gradient, ((0, 2), (0, 0))), "data", tiled=True) / 4
        squares = jnp.sum(part**2)
        norm = jnp.sqrt(lax.psum(squares, "data") if globally else squares)
        moment = 0.9 * opt_state + part * jnp.minimum(1.0, 0.1 / (norm + 1e-9))
        padded = jnp.pad(params["w"], ((0, 2), (0, 0)))
        whole = lax.all_gather(own(padded) - 0.1 * moment, "data", tiled=True)[:6]
        return {**params, "w": whole}, moment

    def train_step(params: Any, opt_state: Any, batch: Any) -> Any:
        specs = (P(), P("data"), P("data"))
        mapped = jax.shard_map(local, mesh=MESH, in_specs=specs, out_specs=specs[:2], check_vma=False)
        params, moment = mapped(params, jnp.pad(opt_state[0].trace["w"], ((0, 2), (0, 0))), batch)
        trace = {**opt_state[0].trace, "w": moment[:6]}
        return params, (opt_state[0]._replace(trace=trace), *opt_state[1:])

    return train_step


@pytest.mark.parametrize("globally", [True, False])
def test_a_scattered_gradient_is_clipped_by_the_norm_of_all_or_told(globally: bool) -> None:
    momentum = optax.sgd(0.1, momentum=0.9)
    own, _ = traced(zero(globally), momentum)
    found = list(norms_of_devices(own))
    assert [(each.axes, each.parts) for each in found] == ([] if globally else [(("data",), True)])


def plain(params: Any, opt_state: Any, batch: Any) -> Any:
    updates, opt_state = SGD.update(jax.grad(loss_fn)(params, batch), opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def test_a_step_that_leaves_devices_to_jax_is_not_looked_at() -> None:
    problem = Problem(loss_fn, PARAMS, BATCH, optimizer=SGD, train_step=plain)
    tracer = Tracer(problem)
    assert step_on_devices(problem, tracer, tracer.inputs(BATCH), BATCH) is None


def test_a_step_of_another_form_says_so() -> None:
    for train_step, why in (
        (lambda params, temperature, x, y: params, "nothing in the file fills"),
        (lambda params, opt_state, batch: params["none"], "it raised KeyError"),
        (lambda params, opt_state, batch: 1.0, "it does not read `params`"),
    ):
        problem = Problem(loss_fn, PARAMS, BATCH, optimizer=SGD, train_step=train_step)
        tracer = Tracer(problem)
        found = step_on_devices(problem, tracer, tracer.inputs(BATCH), BATCH)
        assert isinstance(found, Skipped)
        assert why in found.reason


Objects = tuple[Callable[..., Any], Any, Step, dict[str, Any]]
"""A loss, the params or the model, a training step and what else the file defines."""


def of_devices(how: Local, loss: Callable[..., Any], params: Any, batch: Any) -> Any:
    """A gradient that all devices have after `how`, by whole arrays."""

    def local(params: Any, batch: Any) -> Any:
        return jax.tree.map(lambda each: how(each, "data"), jax.grad(loss)(params, batch))

    return jax.shard_map(
        local, mesh=MESH, in_specs=(P(), P("data")), out_specs=P(), check_vma=False
    )(params, batch)  # fmt: skip


def in_a_train_state(how: Local) -> Objects:
    def train_step(state: Any, batch: Any) -> Any:
        return state.apply_gradients(grads=of_devices(how, loss_fn, state.params, batch)), {"loss": 0.0}

    state = TrainState.create(apply_fn=loss_fn, params=PARAMS, tx=ADAM)
    return loss_fn, PARAMS, jax.jit(train_step, donate_argnums=0), {"state": state}


def with_opt(how: Local) -> Objects:
    def train_step(params: Any, opt: Any, batch: Any) -> Any:
        updates, opt = ADAM.update(of_devices(how, loss_fn, params, batch), opt)
        return optax.apply_updates(params, updates), opt

    return loss_fn, PARAMS, train_step, {"optimizer": ADAM}


def in_a_dict(how: Local) -> Objects:
    def train_step(state: Any, batch: Any) -> Any:
        gradient = of_devices(how, loss_fn, state["params"], batch)
        updates, opt_state = ADAM.update(gradient, state["opt_state"])
        return {"params": optax.apply_updates(state["params"], updates), "opt_state": opt_state}

    given = {"state": {"params": PARAMS, "opt_state": ADAM.init(PARAMS)}, "optimizer": ADAM}
    return loss_fn, PARAMS, train_step, given


class Net(nnx.Module):
    def __init__(self) -> None:
        self.hidden, self.out = nnx.Linear(6, 8, rngs=nnx.Rngs(0)), nnx.Linear(8, 2, rngs=nnx.Rngs(1))

    def __call__(self, x: Any) -> Any:
        return self.out(nnx.tanh(self.hidden(x)))


def in_nnx(how: Local) -> Objects:
    def loss(model: Any, batch: Any) -> Any:
        return jnp.mean((model(batch[0]) - batch[1]) ** 2)

    @nnx.jit
    def train_step(model: Any, optimizer: Any, batch: Any) -> Any:
        graph, params = nnx.split(model)
        gradient = of_devices(how, lambda params, rows: loss(nnx.merge(graph, params), rows), params, batch)
        optimizer.update(model, gradient)

    model = Net()
    return loss, model, train_step, {"model": model, "optimizer": nnx.Optimizer(model, ADAM, wrt=nnx.Param)}


def in_equinox(how: Local) -> Objects:
    def loss(model: Any, batch: Any) -> Any:
        return jnp.mean((jax.vmap(model)(batch[0]) - batch[1]) ** 2)

    @eqx.filter_jit
    def make_step(model: Any, opt_state: Any, x: Any, y: Any) -> Any:
        params, rest = eqx.partition(model, eqx.is_array)
        gradient = of_devices(how, lambda p, batch: loss(eqx.combine(p, rest), batch), params, (x, y))
        updates, opt_state = ADAM.update(gradient, opt_state)
        return eqx.apply_updates(model, updates), opt_state

    model = eqx.nn.MLP(6, 2, 8, 1, key=jax.random.key(0))
    state = ADAM.init(eqx.filter(model, eqx.is_array))
    return loss, model, make_step, {"model": model, "opt_state": state, "optimizer": ADAM}


@pytest.mark.parametrize(
    ("made", "how"),
    [
        *((made, lax.psum) for made in (in_a_train_state, with_opt, in_a_dict, in_nnx, in_equinox)),
        *((made, lax.pmean) for made in (in_a_train_state, in_nnx)),
    ],
)
def test_a_step_of_another_signature_is_judged_as_well(made: Callable[[Local], Objects], how: Any) -> None:
    loss, params, train_step, given = made(how)
    optimizer = given.get("optimizer")
    problem = Problem(loss, params, BATCH, optimizer=optimizer, train_step=train_step, given=given)
    own, about = traced_of(problem)
    assert not isinstance(own.optimizer, Skipped), own.optimizer
    found = scaled_gradient(own, *about)
    assert (None if found is None else found.factor) == (4.0 if how is lax.psum else None)
    assert list(norms_of_devices(own)) == []
    assert list(diverged_after(own, about[0])) == []


def test_a_check_trains_with_the_step_that_it_holds_against_the_optimizer() -> None:
    loss, params, train_step, given = in_a_train_state(lax.psum)
    problem = Problem(loss, params, BATCH, train_step=train_step, given=given)
    report = check_problem(problem, CheckOptions(), target="a problem")
    assert "scaled-gradient" in [each.rule for each in report.findings]
    assert report.training is not None
    assert report.training.own_step is not None
    assert report.training.own_step.end < report.training.own_step.start
    assert [each.what for each in report.skipped if "train_step" in each.what] == []


def test_why_a_step_is_not_judged_is_said_once() -> None:
    def train_step(params: Any, temperature: Any, x: Any, y: Any) -> Any:
        return jax.grad(loss_fn)(params, (x, y))

    problem = Problem(loss_fn, PARAMS, BATCH, train_step=train_step)
    report = check_problem(problem, CheckOptions(), target="a problem")
    assert [each.what for each in report.skipped if "step" in each.what] == ["`train_step`"]
