"""`gradscope fix` on files: which remedy is found, and that what is printed is what was run."""

from __future__ import annotations

import math
import runpy
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

from gradscope.errors import GradscopeError
from gradscope.records import Effect, Remedies, Report
from gradscope.records.options import FixOptions, LoadOptions
from gradscope.remedies.source_code import patched
from gradscope.runs.fix import edited_file, fix
from gradscope.serialization import report_json

MLP = """\
import jax
import jax.numpy as jnp
import numpy as np
import optax

SIZES = [8, 32, 32, 1]


def init(key):
    keys = jax.random.split(key, len(SIZES) - 1)
    shapes = zip(keys, SIZES, SIZES[1:])
    return [{{"w": jax.random.normal(k, (n, m)) * {scale}, "b": jnp.zeros(m)}} for k, n, m in shapes]


def loss_fn(params, batch):
    x, y = batch
    for layer in params[:-1]:
        x = {activation}(x @ layer["w"] + layer["b"])
    predicted = x @ params[-1]["w"] + params[-1]["b"]
    return jnp.mean(({predicted} - y) ** 2)


rng = np.random.default_rng(0)
x = rng.normal(size=(256, 8)).astype(np.float32)
y = (np.sin(2 * x[:, :1]) + x[:, 1:2]).astype(np.float32){flat}
batches = [(x[i : i + 64], y[i : i + 64]) for i in range(0, 256, 64)]
optimizer = {optimizer}
"""
NET = """\
import jax


def apply(params, x):
    hidden = jax.lax.stop_gradient(x @ params["a"])
    return hidden @ params["b"] * 0.0 + hidden.sum()
"""
CUT = """\
import jax.numpy as jnp
import net_of_mine
import optax

params = {"a": jnp.ones((4, 3)) / 9, "b": jnp.ones((3, 1))}
batch = jnp.ones((8, 4)), jnp.zeros(())
optimizer = optax.sgd(1e-5)


def loss_fn(params, batch):
    x, y = batch
    return ((net_of_mine.apply(params, x) - y) ** 2).mean()
"""
GOOD = {
    "scale": "(2 / n) ** 0.5",
    "activation": "jax.nn.relu",
    "predicted": "predicted",
    "optimizer": "optax.adam(3e-3)",
    "flat": "",
}


def written(folder: Path, **changes: str) -> str:
    file = folder / "model.py"
    file.write_text(MLP.format(**{**GOOD, **changes}), encoding="utf-8")
    return str(file)


def fixed(path: str, **options: object) -> tuple[Report, Remedies]:
    report = fix(path, LoadOptions(), FixOptions(**options))  # type: ignore[arg-type]
    assert report.remedies is not None
    return report, report.remedies


def trained(path: str, steps: int) -> tuple[float, float]:
    """By a plain loop over the batches: the mean loss of all of them before and after."""
    names = runpy.run_path(path)
    loss, optimizer, batches = names["loss_fn"], names["optimizer"], names["batches"]
    params = names["init"](jax.random.PRNGKey(0))

    def mean(params: Any) -> float:
        return float(np.mean([loss(params, batch) for batch in batches]))

    start, state = mean(params), optimizer.init(params)
    for step in range(steps):
        gradient = jax.grad(loss)(params, batches[step % len(batches)])
        updates, state = optimizer.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
    return start, mean(params)


def test_a_rate_that_is_too_high_becomes_lower_and_the_printed_edit_trains(tmp_path: Path) -> None:
    path = written(tmp_path, optimizer="optax.sgd(3.0)")
    text = Path(path).read_text()
    report, found = fixed(path, seeds=2, steps=40)
    best = found.best
    assert best is not None
    assert best.training is not None
    assert "learning-rate-too-high" in best.cured
    assert best.checked
    assert not best.caused
    assert "optax.sgd(" in best.diff or "optax.adam(" in best.diff
    assert Path(path).read_text() == text
    # The oracle: the edit on disk, a plain loop of jax.grad over the same batches.
    _, edited = edited_file(found)
    assert edited == patched(text, best.diff)
    Path(path).write_text(edited)
    start, end = trained(path, found.steps)
    assert start == pytest.approx(best.training.starts[0], rel=1e-4)
    assert end == pytest.approx(best.training.ends[0], rel=1e-2)
    # As text: the loss of a training that diverged may be NaN, and a NaN equals no NaN.
    back = report_json.loads(report_json.dumps(report))
    assert repr(back.remedies) == repr(report_json.rounded(report).remedies)


def test_a_broadcast_is_mended_where_it_is(tmp_path: Path) -> None:
    _, found = fixed(written(tmp_path, flat="[:, 0]"), seeds=1, steps=60)
    assert found.best is not None
    assert found.best.effect is Effect.CURES
    assert found.best.changes_loss
    assert "broadcast-loss" in found.best.cured
    assert found.best.beats_chance is None


def test_nothing_is_tried_on_what_trains(tmp_path: Path) -> None:
    _, found = fixed(written(tmp_path), seeds=1)
    assert not found.tried
    assert not found.needed
    assert found.chance is None
    assert max(found.before.ends) < min(found.before.starts) / 2


def test_labels_without_any_relation_to_the_input_are_beyond_remedies(tmp_path: Path) -> None:
    path = written(tmp_path)
    text = Path(path).read_text()
    noise = "y = rng.normal(size=(256, 1)).astype(np.float32)\nbatches = ["
    Path(path).write_text(text.replace("batches = [", noise).replace("3e-3", "1e-3"))
    _, found = fixed(path, seeds=2, steps=40)
    assert all(each.beats_chance is not True for each in found.tried)


def test_an_edit_that_cannot_run_is_said_to(tmp_path: Path) -> None:
    _, found = fixed(written(tmp_path, optimizer="optax.sgd(3.0)"), seeds=1, steps=20, everything=True)
    failed = [each for each in found.tried if each.effect is Effect.FAILED]
    assert any("residual" in each.what and "TypeError" in each.reason for each in failed)
    assert all(each.training is None for each in failed)
    assert found.untried == 0
    assert sum(each.checked for each in found.tried) <= 5


def test_a_module_that_the_target_imports_is_edited_and_forgotten(tmp_path: Path) -> None:
    (tmp_path / "net_of_mine.py").write_text(NET, encoding="utf-8")
    (tmp_path / "cut.py").write_text(CUT, encoding="utf-8")
    report, found = fixed(str(tmp_path / "cut.py"), seeds=1, steps=20)
    assert any(each.rule == "blocked-gradient" for each in report.findings)
    assert found.best is not None
    assert found.best.what == "remove the `stop_gradient`"
    assert "net_of_mine.py" in found.best.diff.splitlines()[0]
    assert "stop_gradient" in (tmp_path / "net_of_mine.py").read_text()
    assert "net_of_mine" not in sys.modules


def test_a_loss_that_is_not_finite_at_once_is_mended(tmp_path: Path) -> None:
    path = written(tmp_path, predicted="jnp.log(jax.nn.sigmoid(-1000 * predicted))", activation="jnp.tanh")
    _, found = fixed(path, seeds=1)
    assert not math.isfinite(found.before.end)
    assert found.best is not None
    assert "non-finite" in found.best.cured


@pytest.mark.parametrize("options", [{"steps": 0}, {"seeds": 0}])
def test_nothing_cannot_be_tried(tmp_path: Path, options: dict[str, int]) -> None:
    with pytest.raises(GradscopeError, match="is 0"):
        fix(written(tmp_path), LoadOptions(), FixOptions(**options))  # type: ignore[arg-type]


def test_a_link_is_edited_where_it_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, optimizer="optax.sgd(3.0)")
    (tmp_path / "link.py").symlink_to("model.py")
    monkeypatch.chdir(tmp_path)
    _, found = fixed("link.py", seeds=1, steps=10)
    assert found.best is not None
    assert found.best.diff.startswith("--- a/model.py\n")


def test_the_budget_ends_the_trials(tmp_path: Path) -> None:
    _, found = fixed(written(tmp_path, optimizer="optax.sgd(3.0)"), seeds=1, budget_s=1e-3)
    assert not found.tried
    assert found.untried
    assert not found.in_time
    assert found.chance is None


SHARED = """\
import jax
import jax.numpy as jnp
import optax
{more}
SIZES = [8, 4, 1]


def loss_fn(params, batch):
    return jnp.mean((batch @ params) ** 2)


params = jnp.ones((SIZES[0], 1)) * 0.5
batch = {batch}
optimizer = optax.sgd(1e-3)
"""


def test_an_edit_that_changes_the_batches_as_well_is_not_judged(tmp_path: Path) -> None:
    batch = "jnp.ones((SIZES[1], 8))"
    (tmp_path / "shared.py").write_text(SHARED.format(batch=batch, more=""), encoding="utf-8")
    _, found = fixed(str(tmp_path / "shared.py"), seeds=1, steps=5, everything=True)
    (wider,) = (each for each in found.tried if "64 units" in each.what)
    assert (wider.effect, wider.reason) == (Effect.FAILED, "it changes the batches, too")


def test_a_file_that_makes_other_batches_each_time_is_said_to(tmp_path: Path) -> None:
    more, batch = "import time", "jnp.ones((4, 8)) * (time.time_ns() % 1000)"
    (tmp_path / "other.py").write_text(SHARED.format(batch=batch, more=more), encoding="utf-8")
    report, found = fixed(str(tmp_path / "other.py"), seeds=1, steps=5, everything=True)
    assert any(each.what == "the same batches for each remedy" for each in report.skipped)
    assert not any("batches, too" in each.reason for each in found.tried)


def test_what_is_interrupted_claims_no_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody looked whether an error is gone."""

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gradscope.runs.fix._examine", stopped)
    _, found = fixed(written(tmp_path, flat="[:, 0]"), seeds=1, steps=20)
    assert not found.complete
    assert not any(each.effect is Effect.CURES for each in found.tried)
    assert found.tried


def test_the_best_is_trained_for_longer_and_held_against_the_file_as_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, optimizer="optax.sgd(3.0)")
    _, found = fixed(path, seeds=1, steps=20)
    assert found.longer is not None
    assert found.longer.steps == 80
    assert found.longer.lasts
    _, edited = edited_file(found)
    Path(path).write_text(edited)
    assert trained(path, 80)[1] == pytest.approx(found.longer.after, rel=1e-2)


def test_an_optimizer_that_makes_no_step_is_said_to(tmp_path: Path) -> None:
    path = written(tmp_path, optimizer="optax.GradientTransformation(lambda p: (), lambda g, s, p: 1 / 0)")
    with pytest.raises(GradscopeError, match="could not be trained as it is") as caught:
        fix(path, LoadOptions(), FixOptions(seeds=1))
    assert "ZeroDivisionError" in caught.value.why


UPSIDE_DOWN = """
import jax, jax.numpy as jnp, numpy as np, optax

rng = np.random.default_rng(2)
tokens = ((rng.integers(0, 12, (64, 1)) + rng.integers(1, 4, (64, 1)) * np.arange(9)) % 12).astype(np.int32)
batch = tokens

def init(key):
    k = jax.random.split(key, 5)
    shapes = {"embed": (12, 16), "q": (16, 16), "k": (16, 16), "v": (16, 16), "out": (16, 12)}
    return {n: jax.random.normal(k[i], s) / s[0] ** 0.5 for i, (n, s) in enumerate(shapes.items())}

def loss_fn(p, batch):
    x = p["embed"][batch[:, :-1]]
    scores = (x @ p["q"]) @ (x @ p["k"]).swapaxes(-1, -2) / 4
    mask = np.triu(np.ones((8, 8), bool))
    x = x + jax.nn.softmax(jnp.where(mask, scores, -1e9), axis=-1) @ (x @ p["v"])
    return optax.softmax_cross_entropy_with_integer_labels(x @ p["out"], batch[:, 1:]).mean()

optimizer = optax.adam(1e-2)
"""


def test_a_remedy_that_causes_an_error_cures_none(tmp_path: Path) -> None:
    """A second mask on top of one that is upside down leaves each place itself alone."""
    path = tmp_path / "m.py"
    path.write_text(UPSIDE_DOWN)
    _, found = fixed(str(path), seeds=1)
    best = found.tried[0]
    assert (best.what, best.effect, best.caused) == ("take `tril` for `triu` in line 16", Effect.CURES, ())
    assert best.cured == ("future-leak",)
    assert all(each.effect is not Effect.CURES for each in found.tried if each.caused)
