"""What a file may define, under which names, and what it is told where something is missing."""

import numpy as np
import pytest

from tests.load.conftest import load

PARAMS = "import numpy as np\nparams = {'w': np.ones(3, np.float32)}\n"
BATCH = "batch = np.ones((4, 3), np.float32)\n"
LOSS = "def loss_fn(params, batch):\n    return (batch * params['w']).sum()\n"


def value(problem):
    batch = next(problem.batches())
    return float(problem.loss(problem.params, batch, problem.key())[0])


def test_loss_params_and_batch_make_a_problem(write):
    problem = load(write(PARAMS + BATCH + LOSS))
    assert value(problem) == 12.0
    assert (problem.name, problem.seed, problem.notes) == ("loss_fn", 0, ())
    assert problem.optimizer is None
    assert problem.validation_batch is None


def test_init_makes_the_params_from_the_seed(write):
    text = (
        "import jax, numpy as np\ndef init(key):\n    return {'w': jax.random.normal(key, (3,))}\n"
        + BATCH
        + LOSS
    )
    first, second = load(write(text), seed=1), load(write(text), seed=2)
    assert value(first) == value(load(write(text), seed=1)) != value(second)


@pytest.mark.parametrize(
    "init",
    [
        "def init():\n    return np.ones(3)\n",
        "def init(k, width=3):\n    return np.ones(width)\n",
        "def init(seed):\n    assert seed == 5\n    return np.ones(3)\n",
        "def init(*, key):\n    assert key.shape == (2,)\n    return np.ones(3)\n",
        "import functools, jax\ninit = functools.partial(lambda n, key: np.ones(n), 3)\n",
        "import jax\ninit = jax.jit(lambda key: np.ones(3))\n",
    ],
)
def test_init_is_called_with_nothing_or_with_a_key(init, write):
    load(write("import numpy as np\n" + init + "def loss_fn(params):\n    return params.sum()\n"), seed=5)


def test_params_win_over_init(write):
    load(write(PARAMS + "def init(key):\n    raise ValueError\n" + BATCH + LOSS))


def test_an_init_with_more_arguments_is_refused(write, refused):
    error = refused(load, write("import numpy as np\ndef init(key, sizes):\n    pass\n" + BATCH + LOSS))
    assert error.what == "init takes 2 arguments: `init(key, sizes)`."


def test_an_init_that_returns_nothing_is_refused(write, refused):
    error = refused(load, write("import numpy as np\ndef init(key):\n    pass\n" + BATCH + LOSS))
    assert error.what == "init returned None."


def test_an_init_that_fails_shows_the_users_line(write, refused):
    error = refused(load, write("def init(key):\n    raise ValueError('bad width')\n" + LOSS))
    assert error.what == "While calling init, your code raised ValueError: bad width"
    assert "model.py:2 in init" in error.details


@pytest.mark.parametrize(
    "batch",
    [
        "def batch():\n    return np.ones((4, 3))\n",
        "def batch(key):\n    return np.ones((4, 3))\n",
        "batches = [np.ones((4, 3))] * 2\n",
        "batches = iter([np.ones((4, 3))])\n",
        "def batches():\n    yield np.ones((4, 3))\n",
        "def batches(rng):\n    yield np.ones((4, 3))\n",
        "def batches():\n    return [np.ones((4, 3))]\n",
        "def data():\n    return np.ones((4, 3))\n",
        "data = np.ones((4, 3))\n",
        "batches = 10\nbatch = np.ones((4, 3))\n",
        "def batches(x, size):\n    raise ValueError\nbatch = np.ones((4, 3))\n",
        "import json as data\nbatch = np.ones((4, 3))\n",
    ],
)
def test_batches_come_in_many_forms(batch, write):
    assert value(load(write(PARAMS + batch + LOSS))) == 12.0


def test_of_several_sources_the_one_used_is_noted(write):
    problem = load(write(PARAMS + BATCH + "data = batch\n" + LOSS))
    assert problem.notes == ("The file gives batch and data: batch is used.",)


def test_the_batch_size_cuts_the_data(write):
    problem = load(
        write(PARAMS + "def data():\n    return np.ones((10, 3), np.float32)\n" + LOSS), batch_size=2
    )
    assert [b.shape for b in problem.batches()] == [(2, 3)] * 5


def test_the_validation_batch_and_the_optimizer_are_taken(write):
    text = "import optax\noptimizer = optax.sgd(0.1)\ndef validation_batch():\n    return batch\n"
    problem = load(write(PARAMS + BATCH + text + LOSS))
    assert problem.optimizer.update is not None
    assert problem.validation_batch.shape == (4, 3)


def test_an_optimizer_of_another_library_is_noted_and_left_out(write):
    problem = load(write(PARAMS + BATCH + "optimizer = 'adam'\n" + LOSS))
    assert problem.optimizer is None
    assert "optimizer is of type str" in problem.notes[0]


def test_an_optimizer_may_be_made_by_a_function(write):
    text = "import optax\ndef optimizer():\n    return optax.sgd(0.1)\n"
    assert load(write(PARAMS + BATCH + text + LOSS)).optimizer is not None


PROBLEM = """
from gradscope.load.problem import Problem
made = Problem(loss_fn, params, batch)
def problem():
    return Problem(loss_fn=loss_fn, params={"w": 2 * params["w"]}, batch=batch)
def other_problem(seed):
    return Problem(loss_fn=loss_fn, params={"w": seed * params["w"]}, batch=batch)
def objective(params, batch):
    return params["w"].sum()
def nothing():
    pass
"""


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", 24.0),
        (":problem", 24.0),
        (":made", 12.0),
        (":loss_fn", 12.0),
        (":objective", 3.0),
        (":other_problem", 36.0),
    ],
)
def test_a_name_chooses_a_problem_or_a_loss(name, expected, write):
    assert value(load(write(PARAMS + BATCH + LOSS + PROBLEM) + name, seed=3)) == expected


def test_a_problem_object_named_problem_is_used(write):
    assert value(load(write(PARAMS + BATCH + LOSS + PROBLEM + "\nproblem = made\n"))) == 12.0


def test_a_variable_named_problem_that_is_none_is_ignored(write):
    assert value(load(write(PARAMS + BATCH + LOSS + "problem = 'regression'\n"))) == 12.0


def test_a_name_that_is_missing_suggests_the_nearest(write, refused):
    error = refused(load, write(PARAMS + BATCH + LOSS + PROBLEM) + ":objectiv")
    assert error.fix == "Did you mean `objective`?"
    assert "model.py:objective" in error.details


def test_a_function_that_makes_no_problem_is_refused(write, refused):
    error = refused(load, write(PARAMS + BATCH + LOSS + PROBLEM) + ":nothing")
    assert error.what == "nothing() returned `None`, of type NoneType."


def test_a_name_that_is_no_function_is_refused(write, refused):
    error = refused(load, write(PARAMS + BATCH + LOSS) + ":params")
    assert "of type dict" in error.what


def test_an_error_in_problem_shows_the_users_line(write, refused):
    text = "from gradscope.load.problem import Problem\ndef problem():\n    return Problem(los_fn=1)\n"
    error = refused(load, write(text))
    assert "unexpected keyword argument 'los_fn'" in error.what
    assert "model.py:3 in problem" in error.details


@pytest.mark.parametrize("name", ["loss", "compute_loss", "loss_function", "objective"])
def test_a_loss_of_another_name_is_suggested(name, write, refused):
    text = f"def forward(params, x):\n    pass\ndef {name}(params, batch):\n    return 0.0\n"
    error = refused(load, write(PARAMS + BATCH + text))
    assert error.what.endswith("model.py defines no `loss_fn` and no `problem`.")
    assert f"model.py:{name}" in error.fix
    assert error.details.splitlines()[0].endswith(f"model.py:{name}")


def test_an_empty_file_is_told_what_to_define(write, refused):
    error = refused(load, write(""))
    assert error.why == "It defines nothing."
    assert "def loss_fn(params, batch)" in error.fix


def test_a_loss_that_is_no_function_is_refused(write, refused):
    assert refused(load, write(PARAMS + BATCH + "loss_fn = 0.3\n")).slug == "no-loss-function"


@pytest.mark.parametrize(("name", "near"), [("param", "param"), ("weight", "weight"), ("parms", "parms")])
def test_params_of_another_name_are_suggested(name, near, write, refused):
    error = refused(load, write(f"import numpy as np\n{name} = np.ones(3)\n" + BATCH + LOSS))
    assert error.what == "The file gives neither `params` nor `init`."
    assert f"Did you mean `{near}`?" in error.fix


def test_params_that_are_a_function_are_refused(write, refused):
    error = refused(load, write("import numpy as np\ndef params():\n    return 1.0\n" + BATCH + LOSS))
    assert "params is a function" in error.what
    assert "`init`" in error.fix


def test_a_missing_batch_suggests_the_nearest_name(write, refused):
    error = refused(load, write(PARAMS + "batchs = np.ones((4, 3))\n" + LOSS))
    assert error.slug == "no-batches"
    assert "Did you mean `batchs`?" in error.fix


def test_a_batches_function_that_takes_arguments_is_named(write, refused):
    error = refused(load, write(PARAMS + "def batches(x, size):\n    yield x\n" + LOSS))
    assert "`batches(x, size)` takes arguments" in error.why
    error = refused(load, write(PARAMS + "batches = 10\n" + LOSS))
    assert "`batches` is of type int" in error.why


def test_a_batch_function_that_returns_nothing_is_refused(write, refused):
    assert refused(load, write(PARAMS + "def batch():\n    pass\n" + LOSS)).what == "batch() returned None."


def test_a_model_beside_params_is_left_alone(write):
    load(write(PARAMS + BATCH + LOSS + "model = type('M', (), {'__module__': 'equinox.nn'})()\n"))


def test_names_of_the_user_cannot_break_the_message(write, refused):
    text = "class Odd:\n    def __repr__(self):\n        raise RuntimeError\nloss_fn = Odd()\n"
    assert "Odd" in refused(load, write(PARAMS + BATCH + text)).what


def test_a_problem_file_can_be_measured_twice(write):
    problem = load(write(PARAMS + "batches = (np.full((2, 3), n, np.float32) for n in (1, 2))\n" + LOSS))
    totals = [[float(np.sum(b)) for b in problem.batches()] for _ in range(2)]
    assert totals == [[6.0, 12.0], [6.0, 12.0]]


def test_the_value_of_the_arguments_own_name_wins_and_that_is_said(write):
    path = write("""
        import jax, jax.numpy as jnp
        params = {"scale": jnp.array([5.0])}
        opt_params = jax.tree.map(jnp.log, params)
        batch = jnp.ones((2, 1))
        def loss_fn(opt_params, batch):
            return jnp.mean(batch * jnp.exp(opt_params["scale"]))
    """)
    problem = load(path)
    assert float(problem.params["scale"][0]) == pytest.approx(1.609, abs=1e-3)
    (note,) = problem.notes
    assert "`opt_params`" in note
    assert "`params` is not used" in note


@pytest.mark.parametrize("own", ["lambda p: p", "3", "'text'", "None", "jnp"])
def test_a_value_that_is_no_params_does_not_win_over_params(own, write):
    path = write(f"""
        import jax.numpy as jnp
        params = {{"w": jnp.ones(3)}}
        p = {own}
        batch = jnp.ones((2, 3))
        def loss_fn(p, batch):
            return jnp.mean(batch @ p["w"])
    """)
    problem = load(path)
    assert set(problem.params) == {"w"}
    assert not problem.notes


@pytest.mark.parametrize("name", ["opt", "optim", "tx"])
def test_an_optimizer_of_another_usual_name_is_found(name, write):
    problem = load(write(f"import optax\n{name} = optax.sgd(0.5)\n" + PARAMS + BATCH + LOSS))
    assert problem.optimizer is not None
    assert f"`{name}` is used as `optimizer`." in problem.notes


def test_two_optimizers_of_other_names_are_no_guess(write):
    path = write("import optax\nopt = optax.sgd(0.5)\ntx = optax.adam(1e-3)\n" + PARAMS + BATCH + LOSS)
    problem = load(path)
    assert problem.optimizer is None
    assert any("call the one to use `optimizer`" in note for note in problem.notes)


def test_a_value_called_opt_that_is_no_optimizer_is_left_alone(write):
    problem = load(write("opt = 3\ntx = [1, 2]\n" + PARAMS + BATCH + LOSS))
    assert problem.optimizer is None
    assert not problem.notes


@pytest.mark.parametrize("name", ["train_loader", "train_dl", "dataloader"])
def test_a_loader_of_another_usual_name_gives_the_batches(name, write):
    problem = load(write(PARAMS + f"{name} = [np.full((2, 3), n, np.float32) for n in (1, 2)]\n" + LOSS))
    assert [float(batch.sum()) for batch in problem.batches()] == [6.0, 12.0]
    assert f"`{name}` is used as `batches`." in problem.notes


def test_get_batch_gives_a_batch(write):
    problem = load(write("def get_batch():\n    return np.ones((2, 3), np.float32)\n" + PARAMS + LOSS))
    assert next(problem.batches()).shape == (2, 3)
    assert "`get_batch` is used as `batch`." in problem.notes


def test_a_loader_beside_a_batch_is_left_alone(write):
    problem = load(write(PARAMS + "train_loader = [np.zeros((9, 3))]\n" + BATCH + LOSS))
    assert next(problem.batches()).shape != (9, 3)


STEP = """
import jax, jax.numpy as jnp
params = {"w": jnp.ones(3)}
batch = jnp.ones((4, 3))
def loss_fn(params, batch):
    return jnp.mean((batch @ params["w"]) ** 2)
"""


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("def train_step(params, batch):\n    return jax.grad(loss_fn)(params, batch)", "train_step"),
        ("@jax.jit\ndef update(params, batch):\n    return jax.grad(loss_fn)(params, batch)", "update"),
        ("g = jax.grad(loss_fn)\ngrad_fn = g\ndef step(p, b):\n    return grad_fn(p, b)", "step"),
        ("def g(p, b):\n    return jax.grad(loss_fn)(p, b)\ndef step(p, b):\n    return g(p, b)", "step"),
        ("def step(params, h):\n    return jnp.tanh(h @ params['w'])", None),
        ("def training_step(params, batch):\n    return loss_fn(params, batch)", None),
        ("from optax import apply_updates as train_step", None),
    ],
)
def test_a_training_step_is_a_function_of_the_file_that_takes_a_gradient(write, code, name):
    step = load(write(STEP + code)).train_step
    assert (step.name if step else None) == name
