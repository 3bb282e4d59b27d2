"""Each kind of edit on the smallest file that it is for: the text after it, and that it is Python still."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

import pytest

from gradscope.records import Finding, Severity, Source
from gradscope.remedies import activations, catalogue, data, lines, optimizer, sizes, start
from gradscope.remedies.data import Scaled
from gradscope.remedies.source_code import Remedy, SourceCode, diff, patched

HEAD = "import jax\nimport jax.numpy as jnp\nimport numpy as np\nimport optax\n"


def code(text: str) -> SourceCode:
    return SourceCode("model.py", HEAD + text)


def finding(rule: str, line: int, **evidence: float) -> Finding:
    source = Source("model.py", line + HEAD.count("\n"))
    return Finding(rule, Severity.ERROR, None, None, source, "", evidence, "")


def changed(remedies: Iterable[Remedy]) -> dict[str, str]:
    """By what it is called: the text below the imports."""
    found = {}
    for remedy in remedies:
        ast.parse(remedy.text)
        assert remedy.text.startswith(HEAD)
        found[remedy.what] = remedy.text.removeprefix(HEAD)
    return found


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("optimizer = optax.sgd(0.5, momentum=0.9)\n", "optimizer = optax.sgd(0.05, momentum=0.9)\n"),
        ("tx = optax.adam(learning_rate=1e-3)\n", "tx = optax.adam(learning_rate=0.0001)\n"),
        (
            "optimizer = optax.chain(optax.clip(1.0), optax.sgd(2.0))\n",
            "optimizer = optax.chain(optax.clip(1.0), optax.sgd(0.2))\n",
        ),
        (
            "optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 100))\n",
            "optimizer = optax.chain(optax.adam(optax.cosine_decay_schedule(0.1, 100)), optax.scale(0.1))\n",
        ),
        ("LR = 1e-2\noptimizer = optax.adamw(LR)\n", "LR = 0.001\noptimizer = optax.adamw(LR)\n"),
        (
            "optimizer = made_by_hand()\n",
            "optimizer = optax.chain(made_by_hand(), optax.scale(0.1))\n",
        ),
        (
            "optimizer = nnx.Optimizer(model, optax.sgd(1.0), wrt=nnx.Param)\n",
            "optimizer = nnx.Optimizer(model, optax.sgd(0.1), wrt=nnx.Param)\n",
        ),
    ],
)
def test_the_learning_rate_is_written_where_it_stands(text: str, edited: str) -> None:
    assert changed(optimizer.edits(code(text)))["multiply the learning rate by 0.1"] == edited


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        (
            "optimizer = nnx.Optimizer(model, tx=optax.sgd(1.0), wrt=nnx.Param)\n",
            "optimizer = nnx.Optimizer(model, tx=optax.sgd(0.1), wrt=nnx.Param)\n",
        ),
        (
            "tx = optax.adam(0.02)\noptimizer = optax.chain(optax.clip(1.0), tx)\n",
            "tx = optax.adam(0.002)\noptimizer = optax.chain(optax.clip(1.0), tx)\n",
        ),
        (
            "opt = optax.inject_hyperparams(optax.adam)(learning_rate=0.2)\n",
            "opt = optax.inject_hyperparams(optax.adam)(learning_rate=0.02)\n",
        ),
        ("LR = 0.5\nopt = optax.sgd(LR)\nx = LR\n", "LR = 0.5\nopt = optax.sgd(LR * 0.1)\nx = LR\n"),
        (
            "opt = optax.adam(args.rate)\n",
            "opt = optax.chain(optax.adam(args.rate), optax.scale(0.1))\n",
        ),
        (
            "optimizer = optax.MultiSteps(optax.adam(1.0), 4)\n",
            "optimizer = optax.MultiSteps(optax.adam(0.1), 4)\n",
        ),
    ],
)
def test_one_rate_is_changed_once(text: str, edited: str) -> None:
    assert changed(optimizer.edits(code(text)))["multiply the learning rate by 0.1"] == edited


def test_an_optimizer_that_is_made_elsewhere_is_left_alone() -> None:
    assert not changed(optimizer.edits(code("from mine import optimizer\n")))


def test_decay_and_epsilon_go_only_where_they_are_numbers() -> None:
    text = "optimizer = optax.adamw(1e-3, weight_decay=100.0, eps=1e-1)\n"
    found = changed(optimizer.edits(code(text)))
    assert "weight_decay=0.0" in found["take the weight decay away"]
    assert "eps=1e-8" in found["take the usual epsilon of 1e-8"]
    assert "take the weight decay away" not in changed(
        optimizer.edits(code("optimizer = optax.adamw(1e-3, weight_decay=decay)\n"))
    )


@pytest.mark.parametrize(
    "drawn",
    [
        "jax.random.normal(key, (4, 3)) * 10.0",
        "10.0 * jax.random.normal(key, (4, 3))",
        "jax.random.uniform(key, shape=(4, 3)) / 100",
        "jax.random.normal(key, (4, 3))",
    ],
)
def test_weights_begin_as_the_field_has_them(drawn: str) -> None:
    found = changed(start.edits(code(f"def init(key):\n    return {drawn}\n")))
    wanted = "def init(key):\n    return jax.nn.initializers.he_normal()(key, (4, 3))\n"
    assert found["begin with He's initialization"] == wanted


def test_filled_weights_get_keys_of_their_own() -> None:
    text = "def init(key):\n    return jnp.zeros((4, 3)), jnp.ones((3, 2)), jnp.zeros(3), jnp.full(3, -9.0)\n"
    found = changed(start.edits(code(text)))
    he = found["begin with He's initialization"]
    assert "he_normal()(jax.random.fold_in(key, 0), (4, 3))" in he
    assert "he_normal()(jax.random.fold_in(key, 1), (3, 2))" in he
    assert "jnp.zeros(3)" in he
    assert "jnp.zeros(3), jnp.zeros(3)" in found["begin with biases of 0"]


def test_data_that_numpy_draws_is_no_weight() -> None:
    text = "rng = np.random.default_rng(0)\nx = rng.normal(0, (4, 3))\ny = np.random.normal(0, (4, 3))\n"
    assert not changed(start.edits(code(text)))


@pytest.mark.parametrize(
    "text",
    [
        "x = jax.random.normal(key, (64, 8))\n",
        "def make_batch(key):\n    return jax.random.normal(key, (64, 8))\n",
        "import numpy\nx = numpy.random.normal(0, (4, 3))\n",
    ],
)
def test_data_that_jax_draws_is_no_weight(text: str) -> None:
    assert not changed(start.edits(code(text)))


def test_weights_that_are_made_when_the_file_is_imported_begin_otherwise() -> None:
    found = changed(start.edits(code('params = {"w": jax.random.normal(key, (4, 3)) * 9}\n')))
    assert '{"w": jax.nn.initializers.he_normal()(key, (4, 3))}' in found["begin with He's initialization"]


LOOP = """\
def predict(params, x):
    for w in params:
        x = jax.nn.sigmoid(x @ w)
    return x
"""


def test_activations_are_exchanged_by_the_name_that_the_file_can_use() -> None:
    found = changed(activations.edits(code(LOOP)))
    assert "x = jax.nn.relu(x @ w)" in found["take ReLU for sigmoid"]
    with_tanh = changed(activations.edits(code(LOOP.replace("jax.nn.sigmoid", "jnp.tanh"))))
    assert "x = jax.nn.gelu(x @ w)" in with_tanh["take GELU for tanh"]


def test_layers_of_a_loop_get_residuals_and_normalized_inputs() -> None:
    found = changed(activations.edits(code(LOOP)))
    assert "x = x + jax.nn.sigmoid(x @ w)" in found["add a residual connection around each layer of the loop"]
    normal = found["normalize the input of each layer of the loop"]
    assert (
        "jax.nn.sigmoid(((x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + 1e-5)) @ w)" in normal
    )


def test_what_binds_less_than_a_plus_gets_brackets() -> None:
    text = "for w in ws:\n    x = jnp.tanh(x @ w) if w.deep else x\n"
    found = changed(activations.edits(code(text)))["add a residual connection around each layer of the loop"]
    assert found == "for w in ws:\n    x = x + (jnp.tanh(x @ w) if w.deep else x)\n"
    text = "x = jnp.sign(a if b else c)\n"
    found = changed(lines.edits(code(text), [finding("blocked-gradient", 1)]))
    ((_, edited),) = found.items()
    assert edited.startswith("x = ((a if b else c) + jax.lax.stop_gradient(jnp.sign(a if b else c) - ")


@pytest.mark.parametrize(
    ("rule", "line", "what", "edited"),
    [
        ("blocked-gradient", "x = jax.lax.stop_gradient(x @ w)", "remove the `stop_gradient`", "x = (x @ w)"),
        (
            "blocked-gradient",
            "x = jnp.round(x @ w)",
            "let the gradient pass straight through the round",
            "x = (x @ w + jax.lax.stop_gradient(jnp.round(x @ w) - (x @ w)))",
        ),
        (
            "mismatched-betas",
            "tx = optax.scale_by_adam(b1=0.999, b2=0.9)",
            "exchange b1 and b2",
            "tx = optax.scale_by_adam(b1=0.9, b2=0.999)",
        ),
        (
            "hidden-past",
            "x = jnp.triu(jnp.ones((n, n), bool))",
            "take `tril` for `triu` in line 5",
            "x = jnp.tril(jnp.ones((n, n), bool))",
        ),
        (
            "dropout-too-high",
            "x = nn.Dropout(0.98, deterministic=False)(x)",
            "drop a tenth in line 5",
            "x = nn.Dropout(0.1, deterministic=False)(x)",
        ),
        (
            "dropout-too-high",
            "x = nn.Dropout(0.5, deterministic=False)(x + y)",
            "leave out the dropout of line 5",
            "x = (x + y)",
        ),
        (
            "rounded-input",
            "x = x.astype(self.dtype)",
            "leave out the cast of line 5",
            "x = x",
        ),
        (
            "mismatched-output",
            "x = optax.softmax_cross_entropy(x, y).mean()",
            "let each label be likely by itself: a sigmoid for the softmax",
            "x = optax.sigmoid_binary_cross_entropy(x, y).mean(-1).mean()",
        ),
        (
            "blocked-gradient",
            "x = jax.nn.one_hot(jnp.argmax(s, axis=-1), 8)",
            "choose straight through: the gradient is that of the softmax",
            "x = (jax.nn.softmax(s) + jax.lax.stop_gradient("
            "jax.nn.one_hot(jnp.argmax(s, axis=-1), 8) - jax.nn.softmax(s)))",
        ),
        (
            "non-finite",
            "x = jnp.log(jax.nn.softmax(x, axis=-1))",
            "take `log_softmax` for the logarithm of a softmax",
            "x = jax.nn.log_softmax(x, axis=-1)",
        ),
        (
            "non-finite",
            "x = jnp.log(1 + jnp.exp(x))",
            "take `softplus` for log(1 + exp(x))",
            "x = jax.nn.softplus(x)",
        ),
        (
            "non-finite",
            "x = jnp.sqrt(x.sum())",
            "keep the root's argument at 1e-12 or more",
            "x = jnp.sqrt(jnp.maximum(x.sum(), 1e-12))",
        ),
        ("non-finite", "x = x / n", "divide by 1 where `n` is 0", "x = x / jnp.where(n == 0, 1, n)"),
        (
            "non-finite",
            "x = jnp.where(m, x, -jnp.inf)",
            "mask with -1e+09 instead of minus infinity",
            "x = jnp.where(m, x, -1e+09)",
        ),
        ("mismatched-output", "x = jax.nn.softmax(x)", "take away the softmax of line 5", "x = x"),
        (
            "broadcast-loss",
            "x = (a - b) ** 2",
            "take the last axis off `a`",
            "x = (jnp.squeeze(a, -1) - b) ** 2",
        ),
        (
            "broadcast-loss",
            "x = optax.huber_loss(a, b)",
            "add a last axis to `b`",
            "x = optax.huber_loss(a, jnp.expand_dims(b, -1))",
        ),
        (
            "index-out-of-range",
            "x = jax.nn.one_hot(y, 3)",
            "let the labels count from 0",
            "x = jax.nn.one_hot(y - 1, 3)",
        ),
    ],
)
def test_the_line_of_a_finding_is_mended(rule: str, line: str, what: str, edited: str) -> None:
    found = changed(lines.edits(code(f"{line}\n"), [finding(rule, 1)]))
    assert found[what] == f"{edited}\n"


def test_scores_are_divided_by_the_root_of_the_width_that_was_measured() -> None:
    found = changed(lines.edits(code("s = q @ k.T\n"), [finding("unscaled-attention", 1, width=64)]))
    assert list(found.values()) == ["s = ((q @ k.T) / 64**0.5)\n"]


def test_a_finding_of_another_line_edits_nothing() -> None:
    text = "x = jax.lax.stop_gradient(x)\ny = x\n"
    assert not changed(lines.edits(code(text), [finding("blocked-gradient", 2)]))


LOSS = '''\
def loss_fn(params, batch):
    """Mean squared error."""
    {}
    return jnp.mean((x @ params - y) ** 2)
'''


@pytest.mark.parametrize(
    ("name", "body", "line"),
    [
        ("batch[0]", "x, y = batch", "    x, y = batch\n    x = (x - 5) / 2\n"),
        ("batch['x']", 'x = batch["x"]; y = 1', "y = 1\n    x = (x - 5) / 2\n"),
        (
            "batch[0]",
            "(x, y) = batch[0], batch[1]",
            "    batch = (*batch[:0], (batch[0] - 5) / 2, *batch[1:])\n",
        ),
        ("batch['x']", "x, y = batch.values()", '    batch = {**batch, "x": (batch["x"] - 5) / 2}\n'),
    ],
)
def test_an_array_is_standardized_where_the_loss_takes_it(name: str, body: str, line: str) -> None:
    array = Scaled(name, True, (5.0,), (2.0,))
    found = changed(data.edits(code(LOSS.format(body)), "loss_fn", [array]))
    text = found[f"standardize `{name}`"]
    assert line in text
    assert text.startswith('def loss_fn(params, batch):\n    """Mean squared error."""\n')


def test_features_have_their_own_means() -> None:
    array = Scaled("batch[0]", True, (1.0, 2.0), (3.0, 4.0))
    found = changed(data.edits(code(LOSS.format("x, y = batch")), "loss_fn", [array]))
    assert "x = (x - jnp.array([1, 2])) / jnp.array([3, 4])" in found["standardize `batch[0]`"]


def test_a_number_that_stands_for_missing_ones_is_replaced_before() -> None:
    array = Scaled("batch[0]", True, (1.0, 2.0), (3.0, 4.0), (-9999.0,), (1.5,))
    text = changed(data.edits(code(LOSS.format("x, y = batch")), "loss_fn", [array]))
    line = "x = (jnp.where(x == -9999, 1.5, x) - jnp.array([1, 2])) / jnp.array([3, 4])"
    assert line in text["replace -9999 and standardize `batch[0]`"]


def test_several_of_them_are_each_replaced_by_the_median_of_their_feature() -> None:
    means = tuple(map(float, range(9)))
    array = Scaled("batch[0]", True, means, (2.0,) * 9, (-2.6223886, 999.0), means)
    (line,) = (
        line
        for line in changed(data.edits(code(LOSS.format("x, y = batch")), "loss_fn", [array]))[
            "replace -2.622389, 999 and standardize `batch[0]`"
        ].splitlines()
        if "isin" in line
    )
    assert (
        "jnp.where(jnp.isin(x, jnp.array([-2.6223886, 999])), jnp.array([0, 1, 2, 3, 4, 5, 6, 7, 8]), x)"
        in line
    )
    assert ".mean(0)" not in line


BATCHES = "batches = [(x[i : i + {0}], y[i : i + {0}]) for i in range(0, 256, {0})]\n"


def test_rows_are_mixed_before_they_are_cut() -> None:
    found = changed(data.edits(code(BATCHES.format(64)), "loss_fn", []))
    assert found["mix the rows"].startswith(
        "mixed = np.random.default_rng(0).permutation(len(x))\nx, y = x[mixed], y[mixed]\nbatches = ["
    )


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        (BATCHES.format(1), BATCHES.format(32)),
        ("SIZE = 2\n" + BATCHES.format("SIZE"), "SIZE = 32\n" + BATCHES.format("SIZE")),
    ],
)
def test_small_batches_become_larger(text: str, edited: str) -> None:
    assert changed(data.edits(code(text), "loss_fn", []))["take batches of 32 rows"] == edited


@pytest.mark.parametrize(
    "text", ["for i in range(0, 9, 2):\n    x = x[i]\n", "for i in range(9, 0, -1):\n    x = x[i : i + 3]\n"]
)
def test_a_range_that_cuts_no_batches_stays(text: str) -> None:
    assert "take batches of 32 rows" not in changed(data.edits(code(text), "loss_fn", []))


def test_a_loss_on_one_line_is_left_alone() -> None:
    text = "def loss_fn(params, batch): return (params * batch).mean()\n"
    array = Scaled("batch[0]", True, (5.0,), (2.0,))
    assert not changed(data.edits(code(text), "loss_fn", [array]))


def test_batches_of_a_usual_size_stay() -> None:
    assert "take batches of 32 rows" not in changed(data.edits(code(BATCHES.format(16)), "loss_fn", []))


def every(text: str, findings: Sequence[Finding] = ()) -> list[Remedy]:
    return catalogue.known([code(text)], "loss_fn", findings, [])


def test_one_text_is_one_remedy() -> None:
    text = "optimizer = optax.adam(1e-3)\n"
    texts = [remedy.text for remedy in every(text)]
    assert len(set(texts)) == len(texts)
    assert HEAD + text not in texts


def test_those_that_are_meant_for_what_was_found_come_first() -> None:
    found = [finding("learning-rate-too-high", 1)]
    first, rest = catalogue.meant(every("optimizer = optax.sgd(1.0)\n", found), found)
    assert {"multiply the learning rate by 0.1"} <= {each.what for each in first}
    assert {"multiply the learning rate by 10"} <= {each.what for each in rest}


def test_a_diff_can_be_taken_back_to_the_text_that_was_run() -> None:
    text = HEAD + LOOP + "optimizer = optax.sgd(1.0)"
    for remedy in catalogue.known([SourceCode("model.py", text)], "loss_fn", [], []):
        shown = diff("model.py", text, remedy.text)
        assert patched(text, shown).rstrip("\n") == remedy.text.rstrip("\n")


def test_a_file_that_changed_since_is_not_patched() -> None:
    shown = diff("model.py", "a = 1\nb = 2\n", "a = 1\nb = 3\n")
    with pytest.raises(ValueError, match="changed"):
        patched("a = 1\nb = 4\n", shown)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "\n"])
def test_a_file_keeps_its_ends_of_lines_and_its_mark(end: str, mark: str, last: str) -> None:
    lines = ["from __future__ import annotations", "import optax", "a = 'form \x0c feed \u2028'"]
    lines += ["def loss_fn(params, batch):", "\tx = jnp.sqrt(batch)", "\treturn x", "opt = optax.sgd(1.0)"]
    text = mark + end.join(lines) + (end if last else "")
    array = Scaled("batch[0]", True, (5.0,), (2.0,))
    for remedy in catalogue.known(
        [SourceCode("model.py", text)], "loss_fn", [finding("non-finite", 1)], [array]
    ):
        ast.parse(remedy.text.encode())
        shown = diff("model.py", text, remedy.text)
        assert patched(text, shown) == remedy.text
        assert remedy.text.startswith(mark + "from __future__ import annotations" + end)
        assert remedy.text.count("\n") == remedy.text.count(end)
        assert "\n    " not in remedy.text


def test_columns_are_counted_in_bytes() -> None:
    text = 'é = "日本"; optimizer = optax.sgd(1.0)\n'
    assert (
        "optimizer = optax.sgd(0.1)"
        in changed(optimizer.edits(code(text)))["multiply the learning rate by 0.1"]
    )


@pytest.mark.parametrize(
    ("schedule", "peak"),
    [
        ("optax.exponential_decay(3e-3, 1, 0.5)", "3e-3"),
        ("optax.warmup_cosine_decay_schedule(0.0, 0.02, 100, 1000)", "0.02"),
        ("optax.cosine_decay_schedule(init_value=0.1, decay_steps=9)", "0.1"),
    ],
)
def test_a_schedule_becomes_its_highest_rate(schedule: str, peak: str) -> None:
    text = f"schedule = {schedule}\noptimizer = optax.adam(schedule)\n"
    found = changed(optimizer.edits(code(text)))
    assert found["take a constant learning rate"] == f"schedule = {peak}\noptimizer = optax.adam(schedule)\n"


def test_the_rate_of_an_optimizer_of_keras() -> None:
    text = 'model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="mse")\n'
    found = changed(optimizer.edits(code(text)))
    assert "Adam(0.03)" in found["multiply the learning rate by 10"]
    assert "Adam(3.0)" in found["multiply the learning rate by 1000"]


def test_initializers_of_keras_have_names() -> None:
    text = 'd = keras.layers.Dense(3, kernel_initializer="zeros", bias_initializer="ones")\n'
    found = changed(start.edits(code(text)))
    assert 'kernel_initializer="he_normal"' in found["begin with He's initialization"]
    assert 'bias_initializer="zeros"' in found["begin with biases of 0"]


def test_hidden_layers_become_wider_and_the_ends_stay() -> None:
    found = changed(sizes.edits(code("SIZES = [3, 32, 1, 4]\nLIMITS = (1, 2)\nSEEDS = [1, 2, 3]\n")))
    assert found == {
        "give each hidden layer 64 units": "SIZES = [3, 32, 64, 4]\nLIMITS = (1, 2)\nSEEDS = [1, 2, 3]\n"
    }


def test_dropout_that_takes_nearly_all_takes_less() -> None:
    found = changed(sizes.edits(code("d = nn.Dropout(0.98)\ne = nn.Dropout(rate=0.2)\n")))
    assert found == {
        "let dropout take away 0.1 of the units": "d = nn.Dropout(0.1)\ne = nn.Dropout(rate=0.2)\n"
    }


def test_axes_of_normalizations_and_softmaxes() -> None:
    text = "y = x - x.mean(axis=0, keepdims=True)\nz = x.mean(axis=1)\nw = jax.nn.softmax(x, axis=1)\n"
    found = changed(sizes.edits(code(text)))
    assert "x.mean(axis=-1, keepdims=True)\nz = x.mean(axis=1)" in found["normalize over the last axis"]
    assert "softmax(x, axis=-1)" in found["let the softmax of line 7 go over the last axis"]


def test_activations_of_keras_are_texts_and_the_last_one_stays() -> None:
    layer = 'Dense(9, activation="sigmoid")'
    text = f'm = [{layer}, {layer}, Dense(1, activation="sigmoid")]\n'
    found = changed(activations.edits(code(text)))["take relu for hidden activations"]
    assert found.count('"relu"') == 2
    assert found.endswith('Dense(1, activation="sigmoid")]\n')


LAYERS = """\
class Net:
    def __call__(self, x):
        x = nn.Dense(3)(x)
        x = self.second(x)
        x = nn.relu(x)
        return x
"""


def test_layers_one_below_the_other_get_an_activation_function() -> None:
    found = changed(activations.edits(code(LAYERS)))["put a ReLU after each layer"]
    assert "jax.nn.relu(nn.Dense(3)(x))" in found
    assert "jax.nn.relu(self.second(x))" in found
    assert "        x = nn.relu(x)\n" in found


def test_an_edit_imports_what_it_uses() -> None:
    file = SourceCode("model.py", '"""Doc."""\nfrom flax import nnx\n\nx = nnx.sqrt(x)\n')
    (edited, *_) = lines.edits(
        file, [Finding("non-finite", Severity.ERROR, None, None, Source("model.py", 4), "", {}, "")]
    )
    assert edited.text == (
        '"""Doc."""\nimport jax.numpy as jnp\nfrom flax import nnx\n\nx = nnx.sqrt(jnp.maximum(x, 1e-12))\n'
    )


def test_missing_values_are_filled() -> None:
    found = changed(data.edits(code(LOSS.format("x, y = batch")), "loss_fn", []))
    assert (
        "    batch = jax.tree.map(jnp.nan_to_num, batch)\n    x, y = batch\n"
        in (found["take 0 for values of the batch that are NaN"])
    )


NETWORK = '''
def predict(params, inputs):
    """From rows to values."""
    return inputs @ params

def loss_fn(params, batch):
    x, y = batch
    return ((predict(params, x) - y) ** 2).mean()
'''


def test_an_input_is_standardized_where_the_network_takes_it() -> None:
    """So that predictions that the file makes elsewhere are of the same input."""
    array = Scaled("batch[0]", True, (1.0,), (2.0,))
    text = changed(data.edits(code(NETWORK), "loss_fn", [array]))["standardize `batch[0]`"]
    assert '"""From rows to values."""\n    inputs = (inputs - 1) / 2\n    return inputs @ params' in text
    assert "x, y = batch\n    return" in text


@pytest.mark.parametrize(
    ("source", "array"),
    [
        (NETWORK, Scaled("batch[1]", False, (1.0,), (2.0,))),
        (NETWORK, Scaled("batch[0]", True, (1.0,) * 9, (2.0,) * 9)),
        (NETWORK.replace("- y)", "- y - x.sum())"), Scaled("batch[0]", True, (1.0,), (2.0,))),
        (
            NETWORK.replace("predict(params, x)", "predict(params, x + 1)"),
            Scaled("batch[0]", True, (1.0,), (2.0,)),
        ),
    ],
)
def test_else_it_is_where_the_loss_takes_it(source: str, array: Scaled) -> None:
    text = changed(data.edits(code(source), "loss_fn", [array]))[f"standardize `{array.name}`"]
    name = "x" if array.is_input else "y"
    assert f"x, y = batch\n    {name} = ({name} - " in text


def test_data_without_a_loss_of_the_file_is_standardized_where_it_is_made() -> None:
    found = changed(
        data.edits(code("data = table, label\n"), "compiled", [Scaled("batch[0]", True, (1.0,), (2.0,))])
    )
    assert found["standardize `data[0]`"].endswith("data = (*data[:0], (data[0] - 1) / 2, *data[1:])\n")


def test_a_shape_by_name_is_that_of_a_weight_where_it_is_drawn_and_of_a_bias_where_it_is_filled() -> None:
    text = (
        "def init(key, shape):\n    return jax.random.normal(key, shape) * 9.0, jnp.full(shape[1], -100.0)\n"
    )
    found = changed(start.edits(code(text)))
    assert "he_normal()(key, shape), jnp.full" in found["begin with He's initialization"]
    assert "9.0, jnp.zeros(shape[1])" in found["begin with biases of 0"]


@pytest.mark.parametrize(
    ("text", "edited"),
    [
        ("act = jax.nn.relu\n", "act = jax.nn.tanh\n"),
        ("net = MLP(8, act=nnx.relu)\n", "net = MLP(8, act=nnx.tanh)\n"),
        ("for act in (jax.nn.relu, jax.nn.gelu):\n    pass\n", None),
    ],
)
def test_activations_that_are_handed_on_by_name_are_exchanged_too(text: str, edited: str | None) -> None:
    found = changed(activations.edits(code(text)))["take tanh for relu"]
    assert found == (edited or "for act in (jax.nn.tanh, jax.nn.gelu):\n    pass\n")


def test_a_name_that_is_no_function_of_a_library_stays() -> None:
    assert changed(activations.edits(code("act = config.relu\nuse(settings.nn_relu)\n"))) == {}


def test_a_mask_that_is_there_is_turned_over_before_another_one_is_put_on_top() -> None:
    text = "mask = np.triu(np.ones((9, 9), bool))\na = jax.nn.softmax(jnp.where(mask, s, -1e9))\n"
    found = changed(lines.edits(code(text), [finding("future-leak", 2)]))
    turned, masked = found
    assert turned == "take `tril` for `triu` in line 5"
    assert found[turned] == text.replace("triu", "tril")
    assert masked == "mask what comes later in the softmax of line 6"
