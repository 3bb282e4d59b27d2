"""Models without arrays of their own: what they are initialized with, and what the file gives instead."""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import numpy as np
import pytest

import gradscope
from tests.load.conftest import load

LINEN = """
import jax, jax.numpy as jnp, numpy as np
from flax import linen as nn
class Net(nn.Module):
    longest: int = 6
    @nn.compact
    def __call__(self, tokens, train):
        if tokens.shape[1] > self.longest:
            raise ValueError("too long")
        x = nn.Embed(10, 4, name="embed")(tokens)
        x = x + self.param("position", nn.initializers.normal(), (self.longest, 4))[: tokens.shape[1]]
        return nn.Dense(10, name="head")(nn.Dropout(0.1, deterministic=not train)(x))
model = Net()
batch = np.arange(28).reshape(4, 7) % 10
"""
USE = "return model.apply({'params': params}, batch[:, :-1], train=True, rngs={'dropout': key}).mean()\n"
HAIKU = """
import haiku as hk, jax, jax.numpy as jnp, numpy as np
batch = (np.ones((4, 3), np.float32), np.ones((4, 1), np.float32))
"""


def value(problem):
    return float(problem.loss(problem.params, next(problem.batches()), problem.key())[0])


@pytest.mark.few(3)
@pytest.mark.parametrize(
    "loss",
    [
        f"def loss_fn(params, batch, key):\n    {USE}",
        f"@jax.jit\ndef loss_fn(params, batch, key):\n    {USE}",
        "def loss_fn(params, batch, rngs):\n    "
        "rngs = {'dropout': rngs['dropout']}\n    "
        "return model.apply({'params': params}, batch[:, :-1], True, rngs=rngs).mean()\n",
        "def loss_fn(variables, batch, rngs):\n    "
        "return model.apply(variables, batch[:, :-1], True, rngs=rngs).mean()\n",
        f"def loss_fn(variables, batch, key):\n    params = variables['params']\n    {USE}",
        "def loss_fn(params, batch, key):\n    "
        "def run(row):\n        "
        "return model.apply({'params': params}, row[None, :-1], True, rngs={'dropout': key}).mean()\n    "
        "penalty = sum((p**2).sum() for p in jax.tree.leaves(params))\n    "
        "return jax.vmap(run)(batch).mean() + 1e-4 * penalty\n",
    ],
)
def test_a_linen_module_is_initialized_with_what_the_loss_hands_to_it(write, loss):
    problem = load(write(LINEN + loss))
    assert {*problem.params} == {"embed", "position", "head"}
    assert np.isfinite(value(problem))


def test_a_module_with_an_init_of_its_own_is_initialized_all_the_same(write):
    own = "    def init(self, key):\n        return super().init(key, batch[:, :6], train=False)\n"
    text = LINEN.replace("    @nn.compact\n", f"{own}    @nn.compact\n")
    assert np.isfinite(value(load(write(f"{text}def loss_fn(params, batch, key):\n    {USE}"))))


def test_a_target_network_is_not_taken_for_the_params(write):
    text = f"""{LINEN}
target_params = model.init(jax.random.key(7), batch[:, :6], train=False)
def loss_fn(params, batch, key):
    goal = model.apply(target_params, batch[:, :6], train=False)
    return ((goal - model.apply(params, batch[:, :-1], train=True, rngs={{'dropout': key}})) ** 2).mean()
"""
    problem = load(write(text))
    assert value(problem) > 0
    assert problem.notes == ()


def test_a_module_that_is_itself_mapped_is_initialized_with_whole_batches(write):
    mapped = "nn.vmap(nn.Dense, variable_axes={'params': None}, split_rngs={'params': False})(3)"
    text = f"{LINEN}model = {mapped}\nbatch = np.ones((5, 4), np.float32)\n"
    text += "def loss_fn(params, batch): return model.apply({'params': params}, batch).mean()\n"
    assert load(write(text)).params["kernel"].shape == (4, 3)


def test_another_seed_makes_other_params(write):
    path = write(f"{LINEN}def loss_fn(params, batch, key):\n    {USE}")
    first, second = (load(path, seed=seed).params["head"]["kernel"] for seed in (0, 1))
    assert not np.allclose(first, second)


def test_the_module_that_the_loss_calls_is_taken_among_several(write):
    text = f"{LINEN}other = nn.Dense(2)\nlm = Net(longest=8)\ndel model\n"
    problem = load(write(f"{text}def loss_fn(params, batch, key):\n    {USE.replace('model', 'lm')}"))
    assert problem.params["position"].shape == (8, 4)


def test_the_params_of_the_file_win_over_its_module(write):
    text = f"{LINEN}params = {{'embed': {{'embedding': jnp.ones((10, 4))}}, 'position': jnp.zeros((6, 4)), "
    text += "'head': {'kernel': jnp.ones((4, 10)), 'bias': jnp.zeros(10)}}\n"
    problem = load(write(f"{text}def loss_fn(params, batch, key):\n    {USE}"))
    assert problem.params["head"]["kernel"].sum() == 40


def test_a_collection_that_is_not_known_is_told_to_be_passed_through(write):
    text = """
    import jax, jax.numpy as jnp
    from flax import linen as nn
    variables = {"params": {"w": jnp.ones(3)}, "averages": {"w": jnp.ones(3)}}
    def loss_fn(variables, batch):
        return (variables["params"]["w"] * variables["averages"]["w"] * batch).sum()
    batch = jnp.ones(3)
    """
    problem = load(write(text))
    assert [*problem.params] == ["w"]
    assert "`averages`" in problem.notes[0]


def test_a_linen_module_whose_call_fails_shows_the_frames_of_the_user(write, refused):
    loss = f"def loss_fn(params, batch, key):\n    {USE.replace('[:, :-1]', '')}"
    error = refused(load, write(LINEN + loss))
    assert "too long" in error.what
    assert "in Net.__call__" in error.details
    assert "flax" not in error.details


def test_an_axis_that_only_the_training_step_maps_is_explained(write, refused):
    text = f"{LINEN}model = nn.BatchNorm(use_running_average=False, axis_name='devices')\n"
    text += "batch = np.ones((5, 4), np.float32)\nvariables = model.init(jax.random.key(0), batch)\n"
    text += "def loss_fn(variables, batch):\n    "
    text += "return model.apply(variables, batch, mutable=['batch_stats'])[0].mean()\n"
    error = refused(gradscope.check, load(write(text)))
    assert 'axis_name="devices"' in error.fix


def test_a_loss_that_fails_before_its_model_is_called_shows_its_own_error(write, refused):
    text = f"{LINEN}def loss_fn(params, batch, key):\n    x = batch['image']\n    {USE}"
    error = refused(load, write(text.replace("> self.longest", "> 0")))
    assert "batch['image']" in error.details


def test_a_haiku_transform_is_initialized_with_what_the_loss_hands_to_it(write):
    text = """
    model = hk.transform_with_state(lambda x, y, is_training: hk.Linear(1)(
        hk.BatchNorm(True, True, 0.9)(jnp.concatenate([x, y], 1), is_training)))
    def loss_fn(params, state, batch, key):
        x, y = batch
        outputs, state = model.apply(params, state, key, jnp.tile(x, 2), y=y, is_training=True)
        return outputs.mean(), state
    """
    problem = load(write(text, header=HAIKU))
    assert problem.params["linear"]["w"].shape == (7, 1)
    assert np.isfinite(value(problem))


@pytest.mark.few(1)
@pytest.mark.parametrize("wrap", ["hk.transform(loss)", "hk.without_apply_rng(hk.transform(loss))"])
def test_a_haiku_loss_makes_its_own_params(write, wrap):
    text = f"""
    def loss(x, y): return ((hk.Linear(1)(x) - y) ** 2).mean()
    loss_fn = {wrap}
    """
    problem = load(write(text, header=HAIKU))
    truth = ((np.ones((4, 3)) @ problem.params["linear"]["w"] - 1) ** 2).mean()
    assert value(problem) == pytest.approx(float(truth), rel=1e-6)
    assert load(write(text, header=HAIKU) + ":loss_fn").params.keys() == problem.params.keys()


def test_the_optimizer_of_a_training_state_is_taken(write):
    text = """
    import jax, jax.numpy as jnp, optax
    from flax.training.train_state import TrainState
    tx = optax.sgd(0.5)
    state = TrainState.create(apply_fn=None, params={"w": jnp.ones(3)}, tx=tx)
    def loss_fn(params, batch): return (params["w"] * batch).sum()
    batch = jnp.ones(3)
    """
    problem = load(write(text))
    update, _ = problem.optimizer.update(problem.params, problem.optimizer.init(problem.params))
    assert update["w"][0] == -0.5


RESTORED = """
import jax, jax.numpy as jnp, numpy as np, optax
from flax.training.train_state import TrainState

tx = optax.adam(optax.linear_schedule(1e-2, 0.0, 400))
state = TrainState.create(apply_fn=None, params={"w": jnp.ones(3)}, tx=tx)
restored = optax.tree_utils.tree_set(state.opt_state, count=jnp.asarray(1000, jnp.int32))
"""
LOSS_OF_STATE = "batch = np.ones(3)\n\ndef loss_fn(params, batch):\n    return jnp.sum(params['w'] * batch)\n"


def first_update(problem):
    update, _ = problem.optimizer.update(problem.params, problem.optimizer.init(problem.params))
    return float(np.abs(update["w"]).max())


@pytest.mark.parametrize(
    "held",
    [
        "state = state.replace(opt_state=restored)\n",
        "state = state.replace(opt_state=restored)\ndel tx\n",
        "params, opt_state = state.params, restored\ndel state\n",
    ],
)
def test_an_optimizer_goes_on_from_the_state_that_the_file_gives(write, held):
    problem = load(write(RESTORED + held + LOSS_OF_STATE))
    assert first_update(problem) == 0.0, "its schedule has ended"
    assert problem.notes.count("The optimizer goes on from its state in the file, after 1,000 steps.") == 1


@pytest.mark.parametrize("state", ["state.opt_state", "optax.adam(1.0).init({'v': jnp.ones(5)})", "7"])
def test_a_fresh_state_or_that_of_other_params_changes_nothing(write, state):
    text = RESTORED + f"params, opt_state = state.params, {state}\ndel state\n" + LOSS_OF_STATE
    problem = load(write(text))
    assert first_update(problem) == pytest.approx(1e-2, rel=1e-3)
    assert not any("goes on" in note for note in problem.notes)


def test_of_a_large_state_the_counters_are_kept_and_the_moments_begin_anew(write, monkeypatch):
    from gradscope.load.model import optimizer_state

    monkeypatch.setattr(optimizer_state, "LARGE", 10)
    moments = "restored = jax.tree.map(lambda leaf: leaf + 1, restored)\n"
    text = RESTORED + moments + "params, opt_state = state.params, restored\ndel state\n" + LOSS_OF_STATE
    problem = load(write(text))
    begun = problem.optimizer.init(problem.params)
    assert int(begun[0].count) == 1001
    assert not np.any(begun[0].mu["w"])


def test_a_keras_optimizer_makes_the_step_that_keras_makes():
    import keras

    from gradscope.load.model.frameworks.table import transform_of

    params = {"a": np.linspace(1, 2, 3, dtype=np.float32), "b": np.ones((2, 2), np.float32)}
    gradients = jax.tree.map(np.cos, params)
    optimizer = keras.optimizers.AdamW(0.1)
    variables = [keras.Variable(leaf) for leaf in params.values()]
    optimizer.apply(list(gradients.values()), variables)
    transform = transform_of(keras.optimizers.AdamW(0.1))
    step = jax.jit(lambda g, p: transform.update(g, transform.init(p), p)[0])(gradients, params)
    for leaf, variable in zip(params, variables, strict=True):
        np.testing.assert_allclose(step[leaf], variable.value - params[leaf], rtol=1e-6)


def test_keras_on_another_backend_is_refused(write, refused, monkeypatch):
    import keras

    monkeypatch.setattr(keras.backend, "backend", lambda: "tensorflow")
    text = """
    import keras, numpy as np
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    def loss_fn(model, batch): return model(batch).mean()
    batch = np.ones((2, 3), np.float32)
    """
    error = refused(load, write(text))
    assert error.slug == "keras-backend"
    assert "KERAS_BACKEND=jax" in error.fix


def test_a_keras_model_that_cannot_be_built_is_told(write, refused):
    text = """
    import keras
    model = keras.Sequential([keras.layers.Dense(1)])
    def loss_fn(model): return model.losses[0]
    """
    assert refused(load, write(text)).slug == "no-params"
