"""The training step that a file writes itself, in every form that loops give it, right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

from gradscope.load.problem import Problem
from gradscope.records import Finding, Report, Severity
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check, check_problem

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype(np.float32)
Y = np.sin(X @ RNG.normal(size=(4, 1)).astype(np.float32))
BATCHES = [(X[:32], Y[:32]), (X[32:], Y[32:])]
PARAMS = {
    "w1": RNG.normal(size=(4, 8)).astype(np.float32) / 2,
    "b1": np.zeros(8, np.float32),
    "w2": RNG.normal(size=(8, 1)).astype(np.float32) / 3,
}
ADAM = optax.adam(1e-2)
STATE = ADAM.init(PARAMS)


def loss_fn(params: Any, batch: Any) -> Any:
    x, y = batch
    return jnp.mean((jnp.tanh(x @ params["w1"] + params["b1"]) @ params["w2"] - y) ** 2)


def report_of(step: Callable[..., Any], loss: Any = loss_fn, params: Any = PARAMS, **given: Any) -> Report:
    names = {"opt_state": STATE, "optimizer": ADAM, **given}
    problem = Problem(loss, params, batches=BATCHES, train_step=step, given=names)
    return check_problem(problem, CheckOptions(), target="a problem")


def findings(report: Report) -> list[Finding]:
    return [each for each in report.findings if each.rule in ("broken-train-step", "lost-state")]


def sgd(rate: float) -> Callable[..., Any]:
    def train_step(params: Any, x: Any, y: Any) -> Any:
        gradient = jax.grad(loss_fn)(params, (x, y))
        return jax.tree.map(lambda p, g: p - rate * g, params, gradient)

    return train_step


@jax.jit
def adam(params: Any, opt_state: Any, batch: Any) -> Any:
    loss, gradient = jax.value_and_grad(loss_fn)(params, batch)
    updates, opt_state = ADAM.update(gradient, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, loss


def test_the_losses_are_those_of_a_plain_loop() -> None:
    step = report_of(adam).training.own_step
    params, state = PARAMS, STATE
    for number in range(step.steps):
        params, state, _ = adam(params, state, BATCHES[number % 2])
    mean = np.mean([loss_fn(params, batch) for batch in BATCHES])
    np.testing.assert_allclose(step.end, mean, rtol=1e-5)
    gradient = jax.grad(loss_fn)(PARAMS, BATCHES[0])
    first, _, _ = adam(PARAMS, STATE, BATCHES[0])
    moved = np.concatenate([np.ravel(first[name] - PARAMS[name]) for name in sorted(PARAMS)])
    steepest = -np.concatenate([np.ravel(gradient[name]) for name in sorted(PARAMS)])
    cosine = moved @ steepest / np.linalg.norm(moved) / np.linalg.norm(steepest)
    np.testing.assert_allclose(step.cosine, cosine, rtol=1e-4)
    assert all(leaf.moved and leaf.gradient and not leaf.as_it_came for leaf in step.leaves)


def in_a_dict(key: Any, params: Any, opt_state: Any, batch: Any) -> Any:
    gradient = jax.grad(loss_fn)(params, batch)
    gradient = jax.tree.map(lambda g: g + 1e-4 * jax.random.normal(key, g.shape), gradient)
    updates, opt_state = ADAM.update(gradient, opt_state, params)
    return {"params": optax.apply_updates(params, updates), "opt_state": opt_state, "gradient": 0.0}


def in_place(params: Any, batch: Any) -> None:
    gradient = jax.grad(loss_fn)(params, batch)
    for name in params:
        params[name] = params[name] - 0.1 * gradient[name]


@pytest.mark.parametrize(
    "step", [adam, sgd(0.1), in_a_dict, in_place], ids=["adam", "sgd", "dict", "in place"]
)
def test_a_step_that_trains_is_no_finding(step: Callable[..., Any]) -> None:
    report = report_of(step)
    own = report.training.own_step
    assert own.returned
    assert own.end < own.start
    assert (own.lost, findings(report)) == ((), [])


def unapplied(params: Any, opt_state: Any, batch: Any) -> Any:
    loss, gradient = jax.value_and_grad(loss_fn)(params, batch)
    updates, opt_state = ADAM.update(gradient, opt_state, params)
    optax.apply_updates(params, updates)
    return params, opt_state, loss


def kept_to_itself(params: Any, opt_state: Any, batch: Any) -> Any:
    new, _, loss = unapplied(params, opt_state, batch)
    params = new
    return loss


@pytest.mark.parametrize(
    ("step", "words", "severity"),
    [
        (unapplied, "every parameter as it came", Severity.ERROR),
        (jax.jit(unapplied), "every parameter as it came", Severity.ERROR),
        (kept_to_itself, "gives back neither the parameters", Severity.ERROR),
        (sgd(-0.1), "up the gradient", Severity.ERROR),
        (sgd(30.0), "too long", Severity.ERROR),
        (sgd(1e-6), "too short", Severity.WARNING),
    ],
    ids=["unapplied", "in a jit", "not returned", "sign", "long", "short"],
)
def test_a_step_that_does_not_train_is_told_why(
    step: Callable[..., Any], words: str, severity: Severity
) -> None:
    (found,) = findings(report_of(step))
    assert (found.rule, found.severity) == ("broken-train-step", severity)
    assert words in found.message


def test_parameters_that_come_back_as_they_came_beside_others_are_a_note() -> None:
    def train_step(params: Any, batch: Any) -> Any:
        gradient = jax.grad(loss_fn)(params, batch)
        return {**params, "w2": params["w2"] - 0.1 * gradient["w2"]}

    (found,) = findings(report_of(train_step))
    assert found.severity is Severity.NOTE
    assert "2 parameters (`b1` and `w1`) as they came" in found.message


def state_of_before(params: Any, opt_state: Any, batch: Any) -> Any:
    updates, _ = ADAM.update(jax.grad(loss_fn)(params, batch), opt_state, params)
    return optax.apply_updates(params, updates), opt_state


def state_made_anew(params: Any, opt_state: Any, batch: Any) -> Any:
    updates, opt_state = ADAM.update(jax.grad(loss_fn)(params, batch), ADAM.init(params), params)
    return optax.apply_updates(params, updates), opt_state


def state_not_returned(params: Any, opt_state: Any, batch: Any) -> Any:
    return state_of_before(params, opt_state, batch)[0]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (state_of_before, "gives it back as it came"),
        (state_made_anew, "Nothing else that"),
        (state_not_returned, "does not give it back"),
    ],
)
def test_a_state_of_the_optimizer_that_does_not_go_on(step: Callable[..., Any], words: str) -> None:
    (found,) = findings(report_of(step))
    assert (found.rule, found.severity) == ("lost-state", Severity.WARNING)
    assert "`opt_state`" in found.message
    assert words in found.message


def scheduled(optimizer: Any) -> Callable[..., Any]:
    def train_step(params: Any, opt_state: Any, batch: Any) -> Any:
        updates, opt_state = optimizer.update(jax.grad(loss_fn)(params, batch), opt_state, params)
        return optax.apply_updates(params, updates), opt_state

    return train_step


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(optax.linear_schedule(0.0, 1e-3, 2000)),
        optax.MultiSteps(optax.adam(1e-2), 64),
        optax.sgd(0.1),
    ],
    ids=["warm-up", "accumulation", "no state"],
)
def test_a_warm_up_and_gradients_that_are_collected_are_no_finding(optimizer: Any) -> None:
    report = report_of(scheduled(optimizer), opt_state=optimizer.init(PARAMS), optimizer=optimizer)
    assert report.training.own_step is not None
    assert findings(report) == []


def recurrent(params: Any, state: Any, x: Any) -> Any:
    return jnp.tanh(x @ params["w1"])


def gradients_alone(params: Any, batch: Any) -> Any:
    gradient = jax.grad(loss_fn)(params, batch)
    return gradient, params


def in_a_global(params: Any, batch: Any) -> None:
    global kept
    kept = jax.grad(loss_fn)(params, batch)


def of_a_counter(i: Any, carry: Any, batch: Any) -> Any:
    return jax.tree.map(lambda p, g: p - g, carry, jax.grad(loss_fn)(carry, batch))


@pytest.mark.parametrize("step", [recurrent, gradients_alone, in_a_global, of_a_counter])
def test_what_is_not_surely_a_step_is_not_judged_and_says_why(step: Callable[..., Any]) -> None:
    report = report_of(step)
    assert report.training.own_step is None
    assert findings(report) == []
    (said,) = [each for each in report.skipped if each.what == f"`{step.__name__}`"]
    assert said.reason.startswith("it was not run: ")


class Net(nnx.Module):
    def __init__(self) -> None:
        self.hidden = nnx.Linear(4, 8, rngs=nnx.Rngs(0))
        self.norm = nnx.BatchNorm(8, rngs=nnx.Rngs(0))
        self.out = nnx.Linear(8, 1, rngs=nnx.Rngs(1))

    def __call__(self, x: Any) -> Any:
        return self.out(nnx.tanh(self.norm(self.hidden(x))))


def nnx_loss(model: Any, batch: Any) -> Any:
    return jnp.mean((model(batch[0]) - batch[1]) ** 2)


@pytest.mark.parametrize("applied", [True, False])
def test_a_module_of_nnx_is_changed_in_place(applied: bool) -> None:
    @nnx.jit
    def train_step(model: Any, optimizer: Any, batch: Any) -> Any:
        loss, gradient = nnx.value_and_grad(nnx_loss)(model, batch)
        if applied:
            optimizer.update(model, gradient)
        return loss

    model = Net()
    before = jax.tree.map(np.asarray, nnx.state(model))
    found = report_of(
        train_step, nnx_loss, model, optimizer=nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    )
    assert [each.rule for each in findings(found)] == ([] if applied else ["broken-train-step"])
    assert found.training.own_step.leaves[0].moved is applied
    jax.tree.map(np.testing.assert_array_equal, before, jax.tree.map(np.asarray, nnx.state(model)))


def eqx_loss(model: Any, batch: Any) -> Any:
    return jnp.mean((jax.vmap(model)(batch[0]) - batch[1]) ** 2)


@pytest.mark.parametrize("applied", [True, False])
def test_a_module_of_equinox(applied: bool) -> None:
    @eqx.filter_jit
    def make_step(model: Any, opt_state: Any, x: Any, y: Any) -> Any:
        loss, gradient = eqx.filter_value_and_grad(eqx_loss)(model, (x, y))
        updates, opt_state = ADAM.update(gradient, opt_state, model)
        return loss, eqx.apply_updates(model, updates) if applied else model, opt_state

    model = eqx.nn.MLP(4, 1, 8, 1, key=jax.random.key(0))
    state = ADAM.init(eqx.filter(model, eqx.is_array))
    found = report_of(make_step, eqx_loss, model, opt_state=state)
    assert [each.rule for each in findings(found)] == ([] if applied else ["broken-train-step"])


class StateWithAverages(TrainState):
    batch_stats: Any


@pytest.mark.parametrize(("kept", "rules"), [(True, []), (False, ["lost-state"])])
def test_running_averages_in_a_train_state(kept: bool, rules: list[str]) -> None:
    def train_step(state: Any, batch: Any) -> Any:
        def loss(params: Any) -> Any:
            hidden = batch[0] @ params["w1"]
            mean = hidden.mean(0)
            out = jnp.tanh(hidden - mean + params["b1"]) @ params["w2"]
            return jnp.mean((out - batch[1]) ** 2), 0.9 * state.batch_stats["mean"] + 0.1 * mean

        gradient, mean = jax.grad(loss, has_aux=True)(state.params)
        state = state.apply_gradients(grads=gradient)
        return state.replace(batch_stats={"mean": mean}) if kept else state

    averages = {"mean": jnp.zeros(8)}
    state = StateWithAverages.create(
        apply_fn=loss_fn, params=jax.tree.map(jnp.asarray, PARAMS), tx=ADAM, batch_stats=averages
    )
    report = report_of(train_step, params=state.params, state=state)
    assert report.training.own_step.cosine > 0.2
    assert [each.rule for each in findings(report)] == rules


def test_a_loop_that_never_runs_is_read(tmp_path: Any) -> None:
    (tmp_path / "model.py").write_text(
        "import jax, jax.numpy as jnp, numpy as np\n"
        "params = {'w': np.ones(3, np.float32)}\nbatch = np.ones((4, 3), np.float32)\n"
        "def loss_fn(params, batch):\n    return jnp.mean((batch @ params['w'] - 1) ** 2)\n"
        "def update(params, batch):\n    g = jax.grad(loss_fn)(params, batch)\n"
        "    return jax.tree.map(lambda p, g: p - 0.1 * g, params, g)\n"
        "if __name__ == '__main__':\n    for _ in range(9):\n        new = update(params, batch)\n"
    )
    report = check(str(tmp_path / "model.py"))
    (found,) = [each for each in report.findings if each.rule == "broken-train-step"]
    assert (found.severity, found.source.line) == (Severity.WARNING, 11)
    assert "same `params`" in found.message


def test_a_state_beside_a_static_model_is_what_is_trained() -> None:
    def train_step(state: Any, batch: Any, model: Any) -> Any:
        return state.apply_gradients(grads=jax.grad(loss_fn)(state.params, batch))

    state = TrainState.create(apply_fn=loss_fn, params=jax.tree.map(jnp.asarray, PARAMS), tx=ADAM)
    report = report_of(train_step, params=state.params, state=state, model=len)
    assert report.training.own_step.returned
    assert findings(report) == []


@pytest.mark.parametrize("options", [CheckOptions(steps=0), CheckOptions()])
def test_a_loss_that_is_not_finite_is_no_matter_of_the_step(options: CheckOptions) -> None:
    def loss(params: Any, batch: Any) -> Any:
        return loss_fn(params, batch) + jnp.log(0.0 * params["w2"][0, 0])

    problem = Problem(loss, PARAMS, batches=BATCHES, train_step=sgd(0.1))
    report = check_problem(problem, options, target="a problem")
    assert (report.training, findings(report)) == (None, [])


def kept_beside(params: Any, old_params: Any, batch: Any) -> Any:
    """Heavy ball: the step before this one comes along."""
    gradient = jax.grad(loss_fn)(params, batch)
    new = jax.tree.map(lambda p, o, g: p + 0.5 * (p - o) - 0.1 * g, params, old_params, gradient)
    return new, params


def by_name(params: Any, ema_params: Any, batch: Any) -> Any:
    new = jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss_fn)(params, batch))
    return {"ema_params": jax.tree.map(lambda e, p: 0.9 * e + 0.1 * p, ema_params, new), "params": new}


@pytest.mark.parametrize(("step", "other"), [(kept_beside, "old_params"), (by_name, "ema_params")])
def test_another_object_of_the_form_of_the_parameters(step: Callable[..., Any], other: str) -> None:
    report = report_of(step, **{other: jax.tree.map(np.array, PARAMS)})
    own = report.training.own_step
    assert own.end < own.start - 0.05
    assert findings(report) == []


def attack(params: Any, x: Any, y: Any) -> Any:
    return x + 0.1 * jnp.sign(jax.grad(lambda each: loss_fn(params, (each, y)))(x))


def logs(params: Any, batch: Any) -> Any:
    loss, gradient = jax.value_and_grad(loss_fn)(params, batch)
    return loss, optax.tree.norm(gradient)


def gradients(params: Any, batch: Any) -> Any:
    return jax.grad(loss_fn)(params, batch)


@pytest.mark.parametrize("step", [attack, logs, gradients])
def test_what_adds_nothing_to_the_parameters_is_no_step(step: Callable[..., Any]) -> None:
    report = report_of(step)
    assert (report.training.own_step, findings(report)) == (None, [])
    assert [each for each in report.skipped if each.what == f"`{step.__name__}`"]


def test_players_that_climb_and_descend_are_no_matter_of_the_sign() -> None:
    def game(params: Any, batch: Any) -> Any:
        return loss_fn(params, batch) - 0.5 * jnp.sum(params["b1"] ** 2) + jnp.sum(params["b1"])

    def train_step(params: Any, batch: Any) -> Any:
        g = jax.grad(game)(params, batch)
        return {name: params[name] + (1.0 if name == "b1" else -0.01) * g[name] for name in params}

    assert findings(report_of(train_step, game)) == []


class Counted(NamedTuple):
    params: Any
    step: int


def test_a_python_counter_goes_on() -> None:
    def train_step(state: Any, batch: Any) -> Any:
        gradient = jax.grad(loss_fn)(state.params, batch)
        rate = 1e-6 * state.step
        params = jax.tree.map(lambda p, g: p - rate * g, state.params, gradient)
        return Counted(params, state.step + 1)

    params = jax.tree.map(jnp.asarray, PARAMS)
    report = report_of(train_step, params=params, state=Counted(params, 0))
    assert report.training.own_step is not None
    assert findings(report) == []


def test_a_state_that_the_optimizer_never_reads_is_not_lost() -> None:
    optimizer = optax.chain(optax.zero_nans(), optax.sgd(0.1))
    report = report_of(scheduled(optimizer), opt_state=optimizer.init(PARAMS), optimizer=optimizer)
    assert findings(report) == []


def test_the_line_that_throws_the_update_away_is_named_and_no_other(tmp_path: Any) -> None:
    (tmp_path / "model.py").write_text(
        "import jax, jax.numpy as jnp, numpy as np, optax\n"
        "params = {'w': np.ones(3, np.float32)}\nbatch = np.ones((4, 3), np.float32)\n"
        "def loss_fn(params, batch):\n    return jnp.mean((batch @ params['w'] - 1) ** 2)\n"
        "def train_step(params, batch):\n    jax.random.split(jax.random.PRNGKey(0))\n"
        "    updates = jax.tree.map(lambda g: -g, jax.grad(loss_fn)(params, batch))\n"
        "    optax.apply_updates(params, updates)\n    return params\n"
    )
    report = check(str(tmp_path / "model.py"))
    lines = {each.rule: each.source.line for each in findings(report)}
    lines |= {each.rule: each.source.line for each in report.findings if each.rule == "discarded-result"}
    assert lines == {"broken-train-step": 9, "discarded-result": 7}
