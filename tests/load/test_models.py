"""Which value of a user's file the loss is differentiated by, and what is said where it cannot be told."""

import sys
import textwrap

import pytest

import gradscope
from gradscope.load.signature.companions import is_extra_argument
from tests.load.conftest import load

EQX = """
import jax, jax.numpy as jnp, equinox as eqx
batch = (jnp.ones((8, 4)), jnp.ones((8, 1)))
def net(seed=0):
    return eqx.nn.MLP(4, 1, 8, 1, key=jax.random.PRNGKey(seed))
"""
LOSS = """
def loss_fn(model, x, y):
    return jnp.mean((jax.vmap(model)(x) - y) ** 2)
"""
NNX = """
import jax, jax.numpy as jnp, optax
from flax import nnx
batch = (jnp.ones((8, 4)), jnp.ones((8, 1)))
def loss_fn(model, x, y):
    return jnp.mean((model(x) - y) ** 2)
"""


def value(problem):
    return float(problem.loss(problem.params, next(problem.batches()), problem.key())[0])


@pytest.mark.parametrize(
    "model",
    [
        "model = net()",
        "def model():\n    return net()",
        "def model(key):\n    return eqx.nn.MLP(4, 1, 8, 1, key=key)",
        "def make_model(key):\n    return eqx.nn.MLP(4, 1, 8, 1, key=key)",
        "def create_model(seed):\n    return net(seed)",
        "def init(key):\n    return eqx.nn.MLP(4, 1, 8, 1, key=key)",
        "params = net()",
        "network = net()",
        "model = net()\nparams = {'w': jnp.ones(3)}",
    ],
)
def test_a_model_is_found_where_people_put_it(write, model):
    problem = load(write(EQX + model + LOSS))
    assert set(problem.params) == {"layers"}
    assert value(problem) > 0


def test_the_only_model_of_another_name_is_taken_and_said(write):
    problem = load(write(EQX + "network = net()" + LOSS))
    assert problem.notes == ("The file gives `network` and no `model`: `network` is used as `model`.",)


def test_of_several_models_the_candidates_are_shown(write, refused):
    path = write(EQX + "first = net(1)\nsecond = net(2)\nalias = first" + LOSS)
    error = refused(load, path)
    assert error.slug == "no-params"
    assert error.details.splitlines() == [f"  {path}:first", f"  {path}:second"]


def test_a_model_is_chosen_by_name(write):
    path = write(EQX + "first = net(1)\nsecond = net(2)" + LOSS)
    first, second = load(f"{path}:first"), load(f"{path}:second")
    assert value(first) != value(second)


def test_a_model_beside_its_state_may_come_from_init(write):
    text = """
    def init(key):
        return eqx.nn.make_with_state(eqx.nn.BatchNorm)(4, "b", mode="batch")
    def loss_fn(model, state, batch):
        run = jax.vmap(model, axis_name="b", in_axes=(0, None), out_axes=(0, None))
        y, state = run(batch[0], state)
        return jnp.mean((y - batch[1]) ** 2), state
    """
    problem = load(write(EQX + textwrap.dedent(text)))
    assert set(problem.params) == {"weight", "bias"}
    assert value(problem) == value(problem) == 1.0


def test_a_value_named_as_the_parameter_of_the_loss_is_taken(write):
    text = """
    import jax.numpy as jnp
    theta = {"w": jnp.ones(3)}
    def loss_fn(theta):
        return theta["w"].sum()
    """
    assert set(load(write(text)).params) == {"w"}


def test_parts_that_the_user_partitioned_are_matched_by_name(write):
    text = """
model = net()
diff_model, static_model = eqx.partition(model, eqx.is_inexact_array)
def loss_fn(diff_model, static_model, x, y):
    return jnp.mean((jax.vmap(eqx.combine(diff_model, static_model))(x) - y) ** 2)
"""
    assert set(load(write(EQX + text)).params) == {"layers"}


def test_functions_that_equinox_wraps_are_no_models(write):
    text = """
model = net()
@eqx.filter_jit
def accuracy(model, x, y):
    return 0.0
@eqx.filter_value_and_grad
def loss_fn(network, x, y):
    return jnp.mean((jax.vmap(network)(x) - y) ** 2)
"""
    problem = load(write(EQX + text))
    assert set(problem.params) == {"layers"}
    assert problem.model is not None


def test_a_class_that_was_not_called_is_named(write, refused):
    text = "class Net(nnx.Module):\n    def __init__(self, rngs):\n        pass\n"
    error = refused(load, write(NNX + text))
    assert error.what == "The file gives the Flax NNX class `Net` and no instance of it."
    assert "`model = Net(...)`" in error.fix


def test_a_model_under_the_main_guard_is_named(write, refused):
    error = refused(load, write(EQX + LOSS + 'if __name__ == "__main__":\n    model = net()\n'))
    assert error.what == (
        'The file makes `model` only under `if __name__ == "__main__":`, which gradscope does not run.'
    )
    assert "def model()" in error.fix


def test_a_loss_inside_the_training_step_is_pointed_to(write, refused):
    text = """
import jax, jax.numpy as jnp
from flax import nnx
batch = jnp.ones((8, 4))
model = nnx.Linear(4, 1, rngs=nnx.Rngs(0))
@nnx.jit
def train_step(model, batch):
    def loss_fn(model):
        return jnp.mean(model(batch) ** 2)
    return nnx.grad(loss_fn)(model)
"""
    error = refused(load, write(text))
    assert error.slug == "no-loss-function"
    assert "`loss_fn` is defined inside `train_step`" in error.fix
    assert "model.py:8" in error.fix


def test_a_model_function_that_returns_nothing_is_refused(write, refused):
    assert refused(load, write(EQX + "def model():\n    net()" + LOSS)).what == "model returned None."


def test_the_optimizer_of_nnx_is_taken(write):
    text = """
model = nnx.Linear(4, 1, rngs=nnx.Rngs(0))
optimizer = nnx.Optimizer(model, optax.adam(1e-3), wrt=nnx.Param)
"""
    problem = load(write(NNX + text))
    assert hasattr(problem.optimizer, "init")
    assert problem.notes == ()


def test_a_model_whose_call_fails_shows_the_users_frames_only(write, refused):
    text = "model = nnx.Linear(5, 1, rngs=nnx.Rngs(0))"
    problem = load(write(NNX + text))
    error = refused(gradscope.check, problem)
    assert error.slug == "error-in-your-code"
    assert "model.py:6 in loss_fn" in error.details
    assert "site-packages" not in error.details


@pytest.mark.parametrize(
    ("module", "extra"), [("flax", "flax"), ("equinox", "equinox"), ("haiku", "haiku"), ("keras", "keras")]
)
def test_a_framework_that_is_not_installed_names_the_extra(module, extra, write, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    error = refused(load, write(f"import {module}\n"))
    assert f"pip install 'gradscope-jax[{extra}]'" in error.fix


@pytest.mark.parametrize(
    ("name", "given", "beside"),
    [
        ("state", {"mean": 1.0}, True),
        ("state", 1.0, False),
        ("x", 1.0, False),
        ("config", {"heads": "many"}, True),
        ("weights", [1.0, 2.0], False),
        ("activation", print, True),
        ("batch", "name", False),
    ],
)
def test_only_what_is_surely_meant_is_taken_from_the_file_before_the_batch(name, given, beside):
    assert is_extra_argument(name, given) is beside
