"""Losses that no one wrote as `loss_fn`: named ones, functions of outputs and targets, compiled ones."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.load.conftest import load

PLAIN = """
import jax.numpy as jnp
import numpy as np
params = {{"w": jnp.asarray(np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3))}}
def apply(params, x):
    return {outputs}
batch = (np.linspace(0, 1, 20, dtype=np.float32).reshape(5, 4), {targets})
"""
LOGITS = "x @ params['w']"
ONE = "(x @ params['w'])[:, :1]"


@pytest.fixture
def value(write):
    def value(outputs, targets, **options):
        problem = load(write(PLAIN.format(outputs=outputs, targets=targets)), **options)
        return float(problem.loss(problem.params, next(problem.batches()), problem.key())[0])

    return value


def logits():
    x = np.linspace(0, 1, 20, dtype=np.float32).reshape(5, 4)
    return x @ np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3)


def test_cross_entropy_takes_numbers_of_classes_and_one_hot_labels(value):
    labels = np.arange(5) % 3
    truth = float(-np.mean(np.asarray(jax.nn.log_softmax(logits()))[np.arange(5), labels]))
    assert value(LOGITS, "np.arange(5) % 3", loss="cross-entropy") == pytest.approx(truth, rel=1e-6)
    assert value(LOGITS, "np.eye(3)[np.arange(5) % 3]", loss="cross-entropy") == pytest.approx(
        truth, rel=1e-6
    )
    name = "softmax_cross_entropy_with_integer_labels"
    assert value(LOGITS, "np.arange(5) % 3", loss=name) == pytest.approx(truth, rel=1e-6)


def test_losses_of_numbers_are_means_over_all_outputs(value):
    targets = "np.linspace(0, 2, 15, dtype=np.float32).reshape(5, 3)"
    error = logits() - np.linspace(0, 2, 15, dtype=np.float32).reshape(5, 3)
    assert value(LOGITS, targets, loss="mse") == pytest.approx(np.mean(error**2), rel=1e-6)
    assert value(LOGITS, targets, loss="mae") == pytest.approx(np.mean(np.abs(error)), rel=1e-6)
    assert value(LOGITS, targets, loss="huber") == pytest.approx(
        float(optax.huber_loss(error).mean()), rel=1e-6
    )
    assert value(LOGITS, targets, loss="log-cosh") == pytest.approx(
        float(optax.log_cosh(error).mean()), rel=1e-6
    )


def test_binary_cross_entropy_takes_integer_labels(value):
    truth = optax.sigmoid_binary_cross_entropy(
        jnp.asarray(logits()[:, 0]), jnp.asarray([0.0, 1, 0, 1, 1])
    ).mean()
    found = value("(x @ params['w'])[:, 0]", "np.array([0, 1, 0, 1, 1])", loss="binary-cross-entropy")
    assert found == pytest.approx(float(truth), rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "outputs", "targets", "says"),
    [
        ("cross-entropy", LOGITS, "np.zeros((5, 1), int)", "`y[:, 0]`"),
        ("cross-entropy", LOGITS, "np.zeros(5)", "numbers of classes, not float"),
        ("cross-entropy", LOGITS, "np.arange(5)", "from 0 to 4"),
        ("cross-entropy", LOGITS, "np.arange(5) % 3 - 1", "from -1 to 1"),
        ("cross-entropy", ONE, "np.zeros((5, 1), int)", "--loss binary-cross-entropy"),
        ("mse", ONE, "np.zeros(5)", "give the targets one: `y[:, None]`"),
        ("mse", "(x @ params['w'])[:, 0]", "np.zeros((5, 1))", "`y[:, 0]`"),
        ("mse", LOGITS, "np.arange(5) % 3", "use `--loss cross-entropy`"),
        ("mse", LOGITS, "np.zeros((5, 2))", "(5, 2) (float32), the outputs (5, 3)"),
        ("binary-cross-entropy", ONE, "np.full((5, 1), 2)", "from 2 to 2"),
        ("mse", f"({LOGITS}, x)", "np.zeros((5, 3))", "returns tuple"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_both_shapes(value, refused, loss, outputs, targets, says):
    error = refused(value, outputs, targets, loss=loss)
    assert error.slug == "labels-do-not-fit"
    assert says in str(error)


def test_an_unknown_loss_names_the_nearest(value, refused):
    error = refused(value, LOGITS, "np.zeros(5)", loss="cross-entrpy")
    assert (error.slug, error.fix) == ("unknown-loss", "Did you mean `cross-entropy`?")


def test_a_batch_without_targets_is_refused(write, refused):
    text = PLAIN.format(outputs=LOGITS, targets="0").rpartition("batch")[0] + "batch = np.ones((5, 4))"
    assert refused(load, write(text), loss="mse").slug == "no-targets"


def test_params_without_a_model_are_refused(write, refused):
    text = PLAIN.format(outputs=LOGITS, targets="np.zeros((5, 3))").replace("def apply", "def run")
    assert refused(load, write(text), loss="mse").slug == "no-model"


def test_the_named_loss_wins_over_the_loss_of_the_file(value, write):
    text = (
        PLAIN.format(outputs=LOGITS, targets="np.zeros((5, 3))") + "def loss_fn(params, batch): return 7.0\n"
    )
    problem = load(write(text), loss="mse")
    assert problem.name == "mse"
    assert float(problem.loss(problem.params, next(problem.batches()), None)[0]) != 7.0


@pytest.mark.parametrize("signature", ["(y_true, y_pred)", "(predictions, targets)"])
def test_a_loss_of_outputs_and_targets_is_recognized_by_its_names(write, signature):
    first, second = signature.strip("()").split(", ")
    text = PLAIN.format(outputs=LOGITS, targets="np.ones((5, 3))")
    outputs, targets = (second, first) if first == "y_true" else (first, second)
    problem = load(write(f"{text}\ndef loss_fn{signature}: return ({outputs} - 2 * {targets}) ** 2\n"))
    found = problem.loss(problem.params, next(problem.batches()), problem.key())[0]
    assert float(found) == pytest.approx(np.mean((logits() - 2) ** 2), rel=1e-6)


MODELS = {
    "flax.linen": """
        from flax import linen as nn
        class Net(nn.Module):
            @nn.compact
            def __call__(self, x, train: bool):
                x = nn.BatchNorm(use_running_average=not train)(nn.Dense(8)(x))
                return nn.Dense(3)(nn.Dropout(0.1, deterministic=not train)(x))
        model = Net()
        """,
    "flax.linen, with values": """
        import jax
        from flax import linen as nn
        net = nn.Dense(3)
        variables = net.init(jax.random.key(0), x)
        """,
    "flax.linen, with plain params": """
        import jax
        from flax import linen as nn
        model = nn.Dense(3)
        params = model.init(jax.random.key(0), x)["params"]
        """,
    "haiku": """
        import haiku as hk
        model = hk.transform_with_state(lambda x, is_training: hk.Linear(3)(
            hk.dropout(hk.next_rng_key(), 0.1, hk.BatchNorm(True, True, 0.9)(x, is_training))))
        """,
    "flax.nnx": """
        from flax import nnx
        model = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
        """,
    "equinox": """
        import equinox as eqx, jax
        model = eqx.nn.MLP(4, 3, 8, 1, key=jax.random.key(0))
        """,
    "a training state": """
        import jax, optax
        from flax import linen as nn
        from flax.training.train_state import TrainState
        class Net(nn.Module):
            @nn.compact
            def __call__(self, x, train):
                return nn.Dense(3)(nn.BatchNorm(use_running_average=not train)(x))
        class State(TrainState):
            batch_stats: dict
        net = Net()
        state = State.create(
            apply_fn=net.apply, tx=optax.adam(1e-3), **net.init(jax.random.key(0), x, train=False))
        """,
}


@pytest.mark.parametrize("text", MODELS.values(), ids=MODELS)
def test_a_model_and_a_named_loss_are_enough(write, text):
    header = """
import numpy as np
x = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)
batch = {"image": x, "label": np.arange(5) % 3}
"""
    problem = load(write(text, header=header), loss="cross-entropy")
    loss = problem.loss(problem.params, next(problem.batches()), problem.key())[0]
    assert 0.5 < float(loss) < 3
