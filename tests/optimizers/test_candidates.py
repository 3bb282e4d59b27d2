"""Every optimizer that can be named makes a step, or is refused with words."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

from gradscope.errors import GradscopeError
from gradscope.load.problem import Problem
from gradscope.optimizers.candidates import DEFAULT, known, named, one_of, own, users
from gradscope.optimizers.feed import feed_of
from gradscope.optimizers.training import Training, fitted, schedule_named, state_bytes
from tests.optimizers.problems import mlp, quadratic


@cache
def setup() -> tuple[Any, Any]:
    feed = feed_of(mlp(), 0)
    return feed.program(), feed


def training(name: str, **more: Any) -> Training:
    return fitted(Training(*setup(), named(name), **more))


@cache
def refusal(name: str) -> GradscopeError | None:
    try:
        training(name)
    except GradscopeError as error:
        return error
    return None


@pytest.mark.parametrize("name", known())
def test_every_known_name_makes_a_step_or_is_refused_with_words(name: str) -> None:
    said = refusal(name)
    if said is not None:
        assert said.slug == "unfit-optimizer"
        assert name in said.what
        assert said.why
        assert said.fix


def test_few_are_refused() -> None:
    refused = [name for name in known() if refusal(name)]
    assert len(known()) > 45
    assert len(refused) <= 3, refused
    assert not set(refused) & {*DEFAULT, "lion", "adafactor", "nadam", "radam", "lamb", "lars", "adan"}
    assert not set(refused) & {"muon", "sophia", "schedule_free_adamw", "prodigy", "dadapt_adamw", "lbfgs"}


@pytest.mark.parametrize("name", known())
def test_the_line_of_code_makes_the_same_optimizer(name: str) -> None:
    if refusal(name):
        pytest.skip("refused")
    candidate, (_, feed) = named(name), setup()
    written = eval(candidate.written("0.003", candidate.usual_decay), {"optax": optax})
    params = feed.tracer.tree(feed.weights)
    states = [optimizer.init(params) for optimizer in (written, candidate.make(0.003))]
    assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])
    for one, other in zip(*map(jax.tree.leaves, states), strict=True):
        assert jnp.array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "multiple"),
    [("sgd", 0), ("momentum", 1), ("adam", 2), ("adagrad", 1), ("lion", 1), ("amsgrad", 3), ("adan", 4)],
)
def test_the_state_takes_what_the_method_says(name: str, multiple: int) -> None:
    (_, feed) = setup()
    stored = sum(weight.nbytes for weight in feed.weights)
    fit = training(name)
    state = jax.eval_shape(fit.start, feed.weights, fit.candidate.any_setting)
    assert state_bytes(state) == multiple * stored


def test_the_settings_are_those_that_optax_documents() -> None:
    assert named("adam").settings["b1"] == 0.9
    assert named("momentum").settings["momentum"] == 0.9
    assert named("nesterov").settings["nesterov"] is True


def test_a_schedule_and_clipping_go_around_any_of_the_usual_ones() -> None:
    for name in DEFAULT:
        assert training(name, schedule=schedule_named("warmup-cosine", 20), clip=1.0)


def test_names_are_taken_as_people_write_them() -> None:
    assert named(" AdamW ").name == "adamw"
    assert named("schedule-free-sgd").name == "schedule_free_sgd"


def test_an_optimizer_that_needs_what_nobody_gives_says_what() -> None:
    def init(params: Any) -> Any:
        return ()

    def update(updates: Any, state: Any, params: Any = None, *, hessian: Any, **more: Any) -> Any:
        return updates, state

    needy = own("needy", lambda rate: optax.GradientTransformationExtraArgs(init, update))
    feed = feed_of(quadratic(), 0)
    with pytest.raises(GradscopeError, match="hessian") as caught:
        fitted(Training(feed.program(), feed, needy))
    assert "'needy'" in caught.value.what


def test_a_step_that_changes_the_dtype_of_the_parameters_is_refused() -> None:
    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return updates, state + 1.0

    made = optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update)
    feed = feed_of(quadratic(), 0)
    with pytest.raises(GradscopeError, match="changes the shape or the dtype"):
        fitted(Training(feed.program(), feed, users(made)))


def test_gradient_accumulation_of_the_users_is_taken() -> None:
    feed = feed_of(quadratic(), 0)
    assert fitted(Training(feed.program(), feed, users(optax.MultiSteps(optax.adam(1e-3), 4))))


def test_sixteen_bit_parameters_train() -> None:
    def loss(params: Any, batch: Any) -> Any:
        return jnp.sum((params["x"] - batch) ** 2)

    problem = Problem(loss, {"x": jnp.ones(3, jnp.bfloat16)}, jnp.zeros(3, jnp.bfloat16))
    feed = feed_of(problem, 0)
    for name in DEFAULT:
        for schedule in ("constant", "cosine"):
            assert fitted(Training(feed.program(), feed, named(name), schedule_named(schedule, 9)))


def test_without_a_name_the_files_optimizer_is_taken_and_else_adam() -> None:
    assert one_of(quadratic(optimizer=optax.sgd(0.1)), None).name == "yours"
    assert one_of(quadratic(), None).name == "adam"
    assert one_of(quadratic(candidates={"adam": optax.sgd}), "adam").kind == "own"


@pytest.mark.parametrize(("name", "near"), [("admaw", "`adamw`"), ("nestrov", "`nesterov`")])
def test_names_near_an_unknown_one_are_told(name: str, near: str) -> None:
    with pytest.raises(GradscopeError) as caught:
        named(name)
    assert near in caught.value.fix


@pytest.mark.parametrize("name", ["lookahead", "mechanize"])
def test_what_wraps_an_optimizer_is_not_said_to_be_missing(name: str) -> None:
    with pytest.raises(GradscopeError) as caught:
        named(name)
    assert "from a learning rate alone" in caught.value.why
    assert "not in optax" not in caught.value.why
    assert "candidates" in caught.value.fix
