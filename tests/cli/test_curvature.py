"""`gradscope curvature` on files of a user: options, exit codes, formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gradscope.landscape.spectrum import Spectrum
from tests.cli.conftest import Run

MODEL = """
import jax.numpy as jnp
import numpy as np
import optax

params = {"x": np.ones(3, np.float32)}
batch = np.asarray([1.0, 2.0, 8.0], np.float32)
optimizer = optax.sgd(1.0)

def loss_fn(params, batch):
    return 0.5 * jnp.sum(batch * params["x"] ** 2)
"""


pytestmark = pytest.mark.usefixtures("no_preparation")


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return str(path)


def test_json_has_the_eigenvalues(run: Run, model: str) -> None:
    result = run("curvature", model, "--format", "json", "--no-progress")
    assert result.code == 0
    found = json.loads(result.out)["curvature"]
    assert found["largest"]["value"] == pytest.approx(8, rel=1e-4)
    assert found["own"]["stable"] == pytest.approx(2, rel=1e-4)


def test_a_rate_above_stability_fails_where_that_is_asked_for(run: Run, model: str) -> None:
    result = run("curvature", model, "--fail-on", "unstable-learning-rate", "--no-layers", "--no-progress")
    assert result.code == 1
    assert "One update raises the loss by" in " ".join(result.out.split())
    assert "sharpness by layer" not in result.out


def test_ctrl_c_ends_with_what_is_known(run: Run, model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Spectrum, "probe", interrupted)
    result = run("curvature", model, "--no-progress")
    assert result.code == 130
    assert "The largest eigenvalue" in result.out
    assert "density of eigenvalues" not in result.out
    assert "interrupted" in result.out


def test_without_timing_the_same_file_gives_the_same_bytes(run: Run, model: str) -> None:
    first, second = (run("curvature", model, "--no-timing", "--no-progress").out for _ in range(2))
    assert first == second


def test_a_budget_that_is_no_time_is_refused(run: Run, model: str) -> None:
    result = run("curvature", model, "--budget", "soon")
    assert result.code == 2
    assert "is not a time" in result.err
