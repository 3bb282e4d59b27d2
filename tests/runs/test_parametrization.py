"""`check --widths` against a plain loop of optax, and what it says of networks in muP and in none."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradscope.errors import GradscopeError
from gradscope.measure.moved_outputs import Moved
from gradscope.records import Parametrization, Report
from gradscope.records.options import CheckOptions, LoadOptions
from gradscope.runs.check import check
from gradscope.training.over_widths import TrainedAtWidth, alike_named

SAMPLES = Path(__file__).parents[2] / "sample_models"
WIDTHS = (64, 128, 256)
RULE = "width-dependent-updates"


def checked(path: Path, **options: Any) -> Report:
    usual: dict[str, Any] = {"widths": WIDTHS, "select": (RULE,), "steps": 3}
    return check(str(path), LoadOptions(), CheckOptions(**{**usual, **options}))


def of(report: Report) -> Parametrization:
    assert report.flow is not None
    assert report.flow.parametrization is not None
    return report.flow.parametrization


@pytest.fixture(scope="module")
def one_rate() -> Report:
    return checked(SAMPLES / "one_rate_mlp.py")


@pytest.fixture(scope="module")
def mup() -> Report:
    return checked(SAMPLES / "mup_mlp.py")


def outputs(params: Any, x: Any, factor: float) -> dict[str, Any]:
    enter = x @ params["enter"]
    hidden = jax.nn.relu(enter) @ params["hidden"]
    leave = jax.nn.relu(hidden) @ params["leave"] * factor
    return {"enter": enter, "hidden": hidden, "leave": leave}


def plain(file: Path, width: int, seed: int, factor: float) -> dict[str, tuple[float, float]]:
    """rms of each layer's output at the start, and of its change after three steps."""
    names = runpy.run_path(str(file))
    params, optimizer = names["init"](jax.random.key(seed), width), names["optimizer"](width)
    start, state = outputs(params, names["batch"][0], factor), optimizer.init(params)
    for _ in range(3):
        gradients = jax.grad(names["loss_fn"])(params, names["batch"])
        updates, state = optimizer.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    end = outputs(params, names["batch"][0], factor)
    return {name: (_rms(start[name]), _rms(end[name] - start[name])) for name in start}


def _rms(value: Any) -> float:
    return float(jnp.sqrt(jnp.mean(value**2)))


@pytest.mark.parametrize(("name", "scaled"), [("one_rate_mlp.py", False), ("mup_mlp.py", True)])
def test_starts_and_changes_are_those_of_a_plain_loop(
    one_rate: Report, mup: Report, name: str, scaled: bool
) -> None:
    found = of(mup if scaled else one_rate)
    assert found.widths == WIDTHS
    assert [each.layer for each in found.layers] == ["enter", "hidden", "leave"]
    assert [each.kind for each in found.layers] == ["input", "hidden", "output"]
    for width in (64, 256):
        slow = plain(SAMPLES / name, width, 1, 64 / width if scaled else 1.0)
        for layer in found.layers:
            (point,) = (each for each in layer.points if (each.width, each.seed) == (width, 1))
            assert (point.start, point.change) == pytest.approx(slow[layer.layer], rel=1e-3)


def test_the_exponent_is_the_slope_of_the_logarithms(one_rate: Report) -> None:
    for layer in of(one_rate).layers:
        x = np.log([point.width for point in layer.points])
        (slope, _), covariance = np.polyfit(x, np.log([point.change for point in layer.points]), 1, cov=True)
        assert layer.change is not None
        assert layer.change.value == pytest.approx(slope)
        half = 2.3646 * covariance[0, 0] ** 0.5  # Student's t for 9 points less 2
        assert (layer.change.high - layer.change.low) / 2 == pytest.approx(half, rel=1e-3)


def test_one_rate_for_all_widths_is_told_with_the_remedy_of_each_kind(one_rate: Report) -> None:
    (finding,) = one_rate.findings
    assert (finding.rule, finding.severity, finding.layer) == (RULE, "note", "hidden")
    assert finding.evidence["exponent"] > 0.4
    assert "`hidden` and `leave` by more the wider" in finding.message
    assert "a rate of Adam that is divided by the width" in finding.remedy
    assert "a factor of a constant over the width" in finding.remedy
    assert one_rate.verdict == "healthy"
    assert RULE in one_rate.rules


def test_mup_is_flat_and_nothing_is_said(mup: Report) -> None:
    assert not mup.findings
    for layer in of(mup).layers:
        assert layer.change is not None
        assert abs(layer.change.value) < 0.3


NET = """
import jax, jax.numpy as jnp, numpy as np, optax

batch = np.random.default_rng(0).normal(size=(16, 4)).astype(np.float32)

def init(key, width{default}):
    first, last = jax.random.split(key)
    return {{
        "first": jax.random.normal(first, (4, width)) * {first},
        "last": jax.random.normal(last, (width, 1)) / width,
    }}

def loss_fn(params, batch):
    return jnp.mean((jnp.tanh(batch @ params["first"]) @ params["last"] - 1.0) ** 2)

optimizer = optax.sgd({rate})
"""


def net(tmp_path: Path, **terms: Any) -> Path:
    file = tmp_path / "net.py"
    file.write_text(NET.format(**{"default": "=8", "first": 0.5, "rate": 0.01, **terms}), encoding="utf-8")
    return file


def test_a_start_that_grows_is_told_and_a_width_without_default_is_given(tmp_path: Path) -> None:
    report = checked(net(tmp_path, default="", first="width ** 0.5"), widths=(8, 16, 32))
    started = [each for each in report.findings if "Before the first step" in each.message]
    assert [each.layer for each in started] == ["first"]
    assert started[0].evidence["exponent"] == pytest.approx(0.5, abs=0.15)
    assert report.flow is not None
    assert report.flow.parameters[0].shape == (4, 8), "the check itself is of the narrowest"


@pytest.mark.parametrize(
    ("terms", "widths", "why"),
    [
        ({}, (8, 16), "takes 3 widths"),
        ({"rate": 0.0}, (8, 16, 32), "do not change its output at width 8"),
        ({"rate": 1e-6}, (8, 16, 32), "little more than its dtype rounds off"),
        ({"rate": 1e30}, (8, 16, 32), "is not finite after the steps at width 8"),
    ],
)
def test_what_cannot_be_fitted_is_listed(
    tmp_path: Path, terms: dict[str, Any], widths: tuple[int, ...], why: str
) -> None:
    report = checked(net(tmp_path, **terms), widths=widths)
    assert not report.findings
    assert any(RULE in each.what and why in each.reason for each in report.skipped)


def test_one_start_has_no_spread(tmp_path: Path) -> None:
    file = net(tmp_path)
    file.write_text(file.read_text().replace("jax.random.split(key)", "jax.random.split(jax.random.key(0))"))
    report = checked(file, widths=(8, 16, 32))
    assert of(report).seeds == (0,)
    assert any("one start has no spread" in each.reason for each in report.skipped)


def test_without_steps_and_without_a_width_it_is_said(tmp_path: Path) -> None:
    report = checked(net(tmp_path), steps=0)
    assert [each.what for each in report.skipped if "no output moves" in each.reason] == ["widths"]
    file = net(tmp_path)
    file.write_text(file.read_text().replace("(4, width)", "(4, 8)").replace("(width, 1)", "(8, 1)"))
    with pytest.raises(GradscopeError, match="as many parameters at several widths"):
        checked(file, widths=(8, 16))


def test_layers_that_only_some_widths_have_are_listed_together(tmp_path: Path) -> None:
    file = net(tmp_path)
    code = file.read_text(encoding="utf-8")
    code = code.replace(
        '"last":', '**{f"gain{i}": jnp.ones((4, 4)) for i in range(width // 2)},\n        "last":'
    )
    code = code.replace(
        "return jnp.mean(",
        """for name in sorted(params):
        batch = batch @ params[name] if name.startswith("gain") else batch
    return jnp.mean(""",
    )
    file.write_text(code, encoding="utf-8")
    report = checked(file, widths=(2, 4, 8), steps=1)
    told = {each.what: each.reason for each in report.skipped if "over widths" in each.what}
    assert told == {
        "gain1 over widths": "at width 4, 8 only",
        "gain2 and 1 more over widths": "at width 8 only",
    }


def test_names_that_differ_by_a_count_are_those_of_the_report() -> None:
    def run(*names: str) -> TrainedAtWidth:
        moved = {name: Moved(1.0, place + 1.0, 0.0, 8) for place, name in enumerate(names)}
        return TrainedAtWidth("adam", True, 8, moved, dict.fromkeys(names, (2, 4)))

    counted = [(8, 0, run("dense_3", "dense_4", "head")), (16, 0, run("dense_9", "dense_10", "head"))]
    for _, _, found in alike_named(counted, ["dense", "dense_1", "head"]):
        assert {name: moved.change for name, moved in found.layers.items()} == {
            "dense": 1.0,
            "dense_1": 2.0,
            "head": 3.0,
        }
    other = [(8, 0, run("a", "only_narrow")), (16, 0, run("a", "only_wide"))]
    assert alike_named(other, ["a", "only_narrow"])[1][2].layers == other[1][2].layers
