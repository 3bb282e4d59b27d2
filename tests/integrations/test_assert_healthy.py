"""`gradscope.assert_healthy`: what a test of a user shows where the model is sick."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

import gradscope
from gradscope.records import Outcome, Policy
from gradscope.report.terminal.failing import failing_text
from tests.report.canned import broken, deep, healthy

SAMPLES = Path(__file__).parents[2] / "sample_models"


def parts(sample: str) -> tuple[Any, Any, Any]:
    """Loss, parameters and a batch, as a user's test makes them."""
    import jax

    names = runpy.run_path(str(SAMPLES / sample))
    return names["loss_fn"], names["init"](jax.random.PRNGKey(0)), next(names["batches"]())


def test_a_sick_model_raises_with_layer_line_numbers_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")
    with pytest.raises(AssertionError) as caught:
        gradscope.assert_healthy(*parts("huge_init_mlp.py"))
    text = str(caught.value)
    assert "error exploding-gradient in [0]" in text
    assert "huge_init_mlp.py:24" in text
    assert "(limit 1000)" in " ".join(text.split())
    assert "→ " in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80, "pytest puts a margin before each line"
    shown = caught.traceback.filter(caught)
    assert [entry.path.name for entry in shown] == [Path(__file__).name], "no frame of gradscope is shown"


def test_its_healthy_twin_is_answered_with_the_report() -> None:
    report = gradscope.assert_healthy(*parts("he_init_mlp.py"), fail_on=["warning", "non-finite"])
    assert report.verdict == "healthy"


def test_a_loss_that_cannot_be_judged_is_no_failed_assertion() -> None:
    loss, params, _ = parts("he_init_mlp.py")
    with pytest.raises(gradscope.GradscopeError) as caught:
        gradscope.assert_healthy(loss, params, None)
    assert [entry.path.name for entry in caught.traceback.filter(caught)] == [Path(__file__).name]


def test_an_unknown_policy_is_told_before_anything_is_measured() -> None:
    with pytest.raises(gradscope.GradscopeError, match="non-finite"):
        gradscope.assert_healthy(lambda params, batch: 0.0, {}, {}, fail_on="non-finit")


@pytest.mark.parametrize("width", [40, 70, 200])
def test_only_what_the_policy_names_is_shown_and_it_fits(width: int) -> None:
    report = broken()
    every = failing_text(Outcome("m.py", report, policy=Policy(("note",))), width, "utf-8")
    assert max(map(len, every.splitlines())) <= width
    graver = Policy(("error",))
    errors = failing_text(Outcome("m.py", report, policy=graver), width, "utf-8")
    assert errors.count("\nerror ") == sum(map(graver.fails, report.findings))
    assert "\nwarning " not in errors


def test_an_ascii_terminal_can_show_it() -> None:
    assert failing_text(Outcome("m.py", deep(), policy=Policy()), 80, "ascii").isascii()


def test_what_does_not_fail_has_nothing_to_show_but_its_name() -> None:
    assert "\n" not in failing_text(Outcome("m.py", healthy(), policy=Policy()), 80, "utf-8")
