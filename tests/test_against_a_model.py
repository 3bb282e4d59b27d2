"""A model that is changed after its baseline was written, and one that only looks so; and several seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import gradscope
from gradscope.gate import baseline_file
from gradscope.gate.baseline_status import entry_of
from gradscope.records import BaselineStatus, Report, Votes
from gradscope.records.options import CheckOptions, CompareOptions, LoadOptions
from gradscope.runs import optimizers, verify
from gradscope.runs.check import check as run_check

MODEL = """
import jax, jax.numpy as jnp, numpy as np
WIDTH, DEPTH, ROWS = 32, 8, 64

def init(key):
    sizes = [16, *[WIDTH] * DEPTH, 3]
    keys = jax.random.split(key, len(sizes))
    layers = [jax.random.normal(k, (m, n)) * jnp.sqrt(2 / m) for k, m, n in zip(keys, sizes, sizes[1:])]
    return {"layers": [{"w": w} for w in layers]}

def loss_fn(params, batch):
    x, labels = batch
    first, *hidden, last = params["layers"]
    x = x @ first["w"]
    for layer in hidden:
        x = x + 0.3 * jnp.tanh(x @ layer["w"])
    logits = x @ last["w"]
    losses = -jax.nn.log_softmax(logits)[jnp.arange(ROWS), labels]
    return jnp.mean(losses)

rng = np.random.default_rng(0)
batch = rng.normal(size=(ROWS, 16)).astype(np.float32), rng.integers(0, 3, size=ROWS)
"""
SICK = {
    "an exploding initialization": ("x + 0.3 * jnp.tanh", "jax.nn.relu", "jnp.sqrt(2 / m)", "1.0"),
    "a branch that lost its scale": ("x + 0.3 * jnp.tanh", "x + 2 * jax.nn.relu"),
    "a residual connection removed": ("x + 0.3 *", "0.3 *"),
    "another activation function": ("x + 0.3 * jnp.tanh", "jax.nn.sigmoid"),
}
HEALTHY = {
    "nothing": (),
    "a loss times a million": ("jnp.mean(losses)", "1e6 * jnp.mean(losses)"),
    "a sum in place of a mean": ("jnp.mean(losses)", "jnp.sum(losses)"),
    "a larger batch": ("ROWS = 32, 8, 64", "ROWS = 32, 8, 512"),
    "another batch": ("default_rng(0)", "default_rng(9)"),
    "a wider network": ("WIDTH, DEPTH, ROWS = 32", "WIDTH, DEPTH, ROWS = 128"),
    "one more layer": ("= 32, 8, 64", "= 32, 9, 64"),
    "a head of zeros": ("for w in layers]", "for w in (*layers[:-1], 0 * layers[-1])]"),
}


def check(path: Path, text: str = MODEL, **options: Any) -> Report:
    path.write_text(text, encoding="utf-8")
    return run_check(str(path), LoadOptions(), CheckOptions(**options))


def changed(edits: tuple[str, ...]) -> str:
    text = MODEL
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base.json` beside it is its baseline."""
    folder = tmp_path_factory.mktemp("model")
    report = check(folder / "model.py", seeds=3)
    assert report.seeds == (0, 1, 2)
    assert report.findings == ()
    assert all(layer.delta_norm_spread is not None for layer in report.flow.layers)
    known = str(folder / "base.json")
    baseline_file.save(known, {baseline_file.key_of(str(folder / "model.py"), known): entry_of(report)})
    return folder / "model.py"


@pytest.mark.few(3)
@pytest.mark.parametrize("change", SICK)
def test_a_change_that_harms_is_new(file: Path, change: str) -> None:
    report = check(file, changed(SICK[change]), baseline=str(file.with_name("base.json")))
    told = [(finding.rule, finding.message) for finding in report.findings]
    assert report.verdict == "sick"
    assert all(finding.baseline_status is BaselineStatus.NEW for finding in report.findings)
    assert any("changed-profile" in rule + message for rule, message in told), told


@pytest.mark.few(2)
@pytest.mark.parametrize("change", HEALTHY)
def test_a_change_that_does_no_harm_is_none(file: Path, change: str) -> None:
    report = check(file, changed(HEALTHY[change]), baseline=str(file.with_name("base.json")))
    assert report.findings == ()
    assert report.baseline is not None
    assert bool(report.baseline.stale) is (change == "one more layer")


def test_a_sick_model_that_gets_sicker_fails_against_its_baseline(tmp_path: Path) -> None:
    sick = changed(("x + 0.3 * jnp.tanh", "x + 8 * jax.nn.relu"))
    before = check(tmp_path / "model.py", sick)
    known = str(tmp_path / "base.json")
    baseline_file.save(known, {baseline_file.key_of(str(tmp_path / "model.py"), known): entry_of(before)})
    assert [f.rule for f in before.findings] == ["exploding-gradient"]
    assert [f.baseline_status for f in check(tmp_path / "model.py", sick, baseline=known).findings] == [
        BaselineStatus.UNCHANGED
    ]
    worse = check(
        tmp_path / "model.py", sick.replace("jnp.sqrt(2 / m)", "jnp.sqrt(18 / m)"), baseline=known
    ).findings
    assert {(f.rule, f.baseline_status) for f in worse} == {
        ("changed-profile", BaselineStatus.NEW),
        ("exploding-gradient", BaselineStatus.UNCHANGED),
    }


def test_another_seed_is_no_change(file: Path) -> None:
    file.write_text(MODEL, encoding="utf-8")
    options = CheckOptions(baseline=str(file.with_name("base.json")))
    assert run_check(str(file), LoadOptions(seed=7), options).findings == ()


def test_a_target_that_the_baseline_does_not_know_is_judged_as_new(file: Path) -> None:
    other = check(file.with_name("other.py"), baseline=str(file.with_name("base.json")))
    assert other.baseline is not None
    assert other.baseline.stale == "it does not know this target"


FLAT = "import jax\ndef loss_fn(params, batch):\n    return (batch @ params['w']).sum()\n"
VALUE = "import numpy as np\nbatch = np.ones((2, 2), np.float32)\nparams = {'w': batch[0]}\n"


def test_where_another_seed_begins_with_the_same_numbers_one_is_measured(tmp_path: Path) -> None:
    report = check(tmp_path / "model.py", FLAT + VALUE, seeds=4)
    assert report.seeds == (0,)
    assert any("One seed was measured" in note for note in report.notes)
    alone = check(tmp_path / "model.py", FLAT + VALUE)
    assert not any("One seed was measured" in note for note in alone.notes)


def test_params_that_are_a_value_with_a_loss_that_draws_have_several_seeds(tmp_path: Path) -> None:
    noisy = FLAT.replace("(params, batch)", "(params, batch, key)") + VALUE
    assert check(tmp_path / "model.py", noisy, seeds=2).seeds == (0, 1)


UNSEEDED = VALUE.replace("np.ones((2, 2), np.float32)", "np.random.normal(size=(2, 2)) + random.random()")


def test_data_drawn_without_a_seed_are_the_same_in_every_run(tmp_path: Path) -> None:
    import random

    import numpy as np

    random.seed(3)
    np.random.seed(3)
    before = random.getstate(), np.random.get_state()[1].tolist()
    text = "import random\n" + FLAT + UNSEEDED
    losses = [check(tmp_path / "model.py", text).flow.loss for _ in range(2)]
    assert losses[0] == losses[1]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before
    other = run_check(str(tmp_path / "model.py"), LoadOptions(seed=1))
    assert other.flow.loss != losses[0]


def test_verify_and_training_draw_the_same_in_every_run_too(tmp_path: Path) -> None:
    path = tmp_path / "model.py"
    path.write_text(
        "import random\n" + FLAT.replace(".sum()", " ** 2).mean()").replace("return ", "return (") + UNSEEDED
    )
    terms = CompareOptions(("sgd",), steps=4, seeds=1, grid=1)

    def numbers() -> list[Any]:
        compared, searched = (
            optimizers.compare_optimizers(str(path), None, terms),
            optimizers.find_lr(str(path)),
        )
        checked = verify.verify(str(path)).gradients.leaves
        return [checked, compared.loss, searched.loss]

    assert numbers() == numbers()


def test_within_several_seeds_a_program_is_compiled_once_and_another_program_anew() -> None:
    import jax.numpy as jnp

    from gradscope.trace.compiling import compile_program, compiling_once

    def doubled(x: Any) -> Any:
        return 2 * x

    def executable(function: Any, size: int = 3) -> Any:
        return compile_program(function, (jnp.ones(size),), runs=1).executable

    with compiling_once():
        first = executable(doubled)
        assert executable(doubled) is first
        assert executable(doubled, size=4) is not first
        assert executable(lambda x: 3 * x) is not first
    assert executable(doubled) is not first


def test_a_program_of_a_class_that_was_defined_again_is_another_one() -> None:
    import jax

    from gradscope.trace.compiling import compile_program, compiling_once

    def defined() -> Any:
        @jax.tree_util.register_pytree_node_class
        class Net:
            def __init__(self, w: Any) -> None:
                self.w = w

            def tree_flatten(self) -> tuple[tuple[Any], None]:
                return (self.w,), None

            @classmethod
            def tree_unflatten(cls, _: None, leaves: tuple[Any]) -> Net:
                return cls(*leaves)

        return Net

    with compiling_once():
        for net in (defined(), defined()):
            made = compile_program(lambda x, net=net: net(x), (1.0,), runs=1)
            assert type(made(1.0)) is net


def test_the_library_votes_as_the_command_does() -> None:
    import jax
    import jax.numpy as jnp

    def dead_for_most(params: Any, batch: Any, key: Any) -> Any:
        return jnp.sum(jnp.where(jax.random.uniform(key) < 0.5, params["a"], 0.0) * batch) + jnp.sum(
            params["b"] ** 2
        )

    given = {"a": jnp.ones((2, 2)), "b": jnp.ones((2, 2))}
    report = gradscope.check(dead_for_most, given, jnp.ones((2, 2)), seeds=5)
    assert report.seeds == (0, 1, 2, 3, 4)
    votes = [f.votes for f in (*report.findings, *report.minority_findings)]
    assert votes
    assert all(isinstance(vote, Votes) and vote.of == 5 for vote in votes)
