"""`gradscope verify` and `gradscope check --verify` on files of a user."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gradscope
from tests.cli.conftest import Run

MODEL = """
import jax
import jax.numpy as jnp
import numpy as np

@jax.custom_vjp
def square(x):
    return x**2

square.defvjp(lambda x: (square(x), x), lambda x, g: ({factor} * x * g,))

params = {{"w": np.linspace(0.5, 1.5, 12, dtype=np.float32).reshape(4, 3), "b": np.zeros(3, np.float32)}}
batch = np.linspace(-1, 1, 20, dtype=np.float32).reshape(5, 4)

def loss_fn(params, batch):
    return jnp.mean(square(batch @ params["w"]) + params["b"])
"""


pytestmark = pytest.mark.usefixtures("no_preparation")


@pytest.fixture
def sick(tmp_path: Path) -> str:
    path = tmp_path / "sick.py"
    path.write_text(MODEL.format(factor=1))
    return str(path)


@pytest.fixture
def healthy(tmp_path: Path) -> str:
    path = tmp_path / "healthy.py"
    path.write_text(MODEL.format(factor=2))
    return str(path)


def test_a_right_gradient_answers_0(run: Run, healthy: str) -> None:
    result = run("verify", healthy, "--no-progress")
    assert result.code == 0
    assert "nothing found in 2 parameter leaves: 2 right" in " ".join(result.out.split())


def test_a_wrong_gradient_answers_1_and_names_the_rule_and_its_line(run: Run, sick: str) -> None:
    result = run("verify", sick, "--format", "json")
    report = json.loads(result.out)
    assert result.code == 1
    (finding,) = report["findings"]
    assert finding["rule"] == "wrong-gradient"
    assert finding["source"]["text"] == "def square(x):"
    assert finding["parameter"] == "w"
    assert {check["parameter"]: check["verdict"] for check in report["gradients"]["leaves"]} == {
        "b": "right",
        "w": "wrong",
    }
    (rule,) = report["gradients"]["custom_rules"]
    assert rule["ratio"] == 0.5


def test_single_elements_and_directions_are_options(run: Run, healthy: str) -> None:
    report = json.loads(
        run("verify", healthy, "--format", "json", "--per-element", "2", "--directions", "4").out
    )
    assert len(report["gradients"]["elements"]) == 4
    assert {check["directions"] for check in report["gradients"]["leaves"]} == {4}
    assert run("verify", healthy, "--directions", "0").code == 2


def test_check_verifies_only_when_asked(run: Run, sick: str) -> None:
    plain = json.loads(run("check", sick, "--format", "json").out)
    assert plain["gradients"] is None
    assert plain["unexamined"][0] == "gradients not verified (1 custom derivative rule)"
    asked = run("check", sick, "--verify", "--format", "json")
    report = json.loads(asked.out)
    assert asked.code == 1
    assert report["flow"]["layers"]
    assert report["unexamined"] == ["no optimizer given"]
    assert "wrong-gradient" in {finding["rule"] for finding in report["findings"]}


def test_a_saved_verification_is_shown_again(run: Run, sick: str, tmp_path: Path) -> None:
    path = str(tmp_path / "run.json")
    first = run("verify", sick, "--save", path)
    assert run("report", path).out == first.out


def test_a_file_that_cannot_be_loaded_answers_2(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("loss_fn = 3\n")
    assert run("verify", str(path)).code == 2


def test_the_library_call_gives_the_same_verdicts() -> None:
    import jax.numpy as jnp

    report = gradscope.verify(lambda p, x: jnp.sum(jnp.sin(p["w"]) * x), {"w": 0.5}, 2.0, per_element=1)
    assert report.verdict == "healthy"
    assert report.gradients.leaves[0].verdict == "right"
    assert report.gradients.elements[0].index == ()
    with pytest.raises(gradscope.GradscopeError, match="--directions 0"):
        gradscope.verify(lambda p, x: p, 0.5, 2.0, directions=0)


def test_a_configuration_says_how_a_target_is_loaded_and_not_what_fails(
    run: Run, sick: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "gradscope.toml"
    settings.write_text('fail-on = "never"\nselect = "non-finite"\n[[target]]\npath = "sick.py"\nseed = 7\n')
    assert run("verify", "sick.py").code == 1
    settings.write_text('[[target]]\npath = "sick.py"\nparams = "absent.npz"\n')
    result = run("verify", "sick.py")
    assert result.code == 2
    assert "absent.npz" in result.err
