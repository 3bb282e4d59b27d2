"""`gradscope.compare_optimizers` and `gradscope.find_lr`, the library calls."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradscope
from gradscope.errors import GradscopeError
from gradscope.serialization import report_json

BATCH = np.array([1.0, 4.0], np.float32)
FEW: dict[str, Any] = {"steps": 20, "seeds": 2, "grid": 1}


def loss(params: Any, batch: Any) -> Any:
    return 0.5 * jnp.sum(batch * params["x"] ** 2)


def init(key: Any) -> Any:
    return {"x": 1.0 + 0.1 * jax.random.normal(key, (2,))}


def test_a_loss_its_start_and_a_batch_are_enough() -> None:
    report = gradscope.compare_optimizers(loss, init=init, batch=BATCH, optimizers=["sgd", "adam"], **FEW)
    found = report.optimizers
    assert found is not None
    assert {row.name for row in found.contestants} == {"sgd", "adam"}
    assert found.seeds == (0, 1)
    assert report.findings == ()
    starts = {trial.losses[0] for row in found.contestants for trial in row.trials}
    assert len(starts) == 2, "init(key) begins each seed elsewhere"
    report = report_json.rounded(report)
    assert report_json.from_json(report_json.to_json(report)) == report


def test_the_users_own_and_further_candidates_run_beside() -> None:
    report = gradscope.compare_optimizers(
        loss,
        {"x": np.ones(2, np.float32)},
        BATCH,
        optimizer=optax.sgd(0.1),
        candidates={"mine": lambda lr: optax.sgd(lr, momentum=0.5)},
        optimizers=("mine",),
        **FEW,
    )
    assert report.optimizers is not None
    assert {row.name for row in report.optimizers.contestants} == {"mine", "yours"}


def test_a_rate_is_found_for_a_name_or_for_the_users_own() -> None:
    params = {"x": np.ones(2, np.float32)}
    named = gradscope.find_lr(loss, params, BATCH, optimizer_name="sgd", seeds=1)
    own = gradscope.find_lr(loss, params, BATCH, optimizer=optax.sgd(0.1), seeds=1)
    assert named.rates is not None
    assert named.rates.optimizer == "sgd"
    assert own.rates is not None
    assert own.rates.is_factor


@pytest.mark.parametrize("more", [{"schedule": "linear"}, {"vmap": "maybe"}, {"clip": 0.0}, {"budget": -1.0}])
def test_a_choice_that_does_not_exist_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(GradscopeError) as caught:
        gradscope.compare_optimizers(loss, init=init, batch=BATCH, **more)
    assert caught.value.slug == "bad-option"


def test_what_stands_beside_a_problem_is_refused() -> None:
    problem = gradscope.Problem(loss, {"x": np.ones(2, np.float32)}, BATCH)
    with pytest.raises(GradscopeError, match="`optimizer` stands beside"):
        gradscope.compare_optimizers(problem, optimizer=optax.sgd(0.1))


def test_importing_the_package_imports_no_jax_for_them() -> None:
    code = "import sys, gradscope; dir(gradscope); sys.exit('jax' in sys.modules or 'optax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
