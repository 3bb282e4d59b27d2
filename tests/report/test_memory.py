"""The memory of a step in every format: sentences, tables, the picture, and what machines read of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gradscope.language import speaking
from gradscope.records import Accumulation, CompiledMemory, Memory, Report
from gradscope.report.shared.memory import form_of, summary
from gradscope.report.shared.memory_advice import advice
from gradscope.serialization import report_json
from tests.report.canned import HOSTILE, remembered
from tests.report.pages import compare, shown

MIB = 2**20


def memory_of(report: Report) -> Memory:
    assert report.memory is not None
    return report.memory


def told(**changes: object) -> str:
    changed = replace(memory_of(remembered()), **changes)  # type: ignore[arg-type]
    return " ".join([*summary(changed), *advice(changed)])


@pytest.mark.parametrize(
    ("name", "width", "suffix"),
    [("terminal", 120, "_120"), ("terminal", 80, "_80"), ("markdown", 120, "")],
)
def test_it_reads_as_it_did(name: str, width: int, suffix: str) -> None:
    compare(f"{name}_remembered{suffix}.txt", shown(remembered(), name, width=width))


def test_json_and_back_is_the_same_report() -> None:
    report = report_json.rounded(remembered())
    assert report_json.loads(report_json.dumps(report)) == report
    assert json.loads(report_json.dumps(report))["memory"]["kept"][0]["steps"] == 12


def test_the_peak_is_told_with_the_difference_from_xla() -> None:
    assert "A training step with 64 rows takes 10 MiB at its peak." in told()
    assert "Accounted are 7 MiB, 12% less than XLA's figure" in told()
    assert "holds 1 MiB more" in told()
    near = CompiledMemory(2 * MIB, MIB, 4 * MIB + MIB // 4, 0)
    assert "3% less than XLA's figure." in told(compiled=near)
    less = CompiledMemory(2 * MIB, MIB, 2 * MIB, 0)
    assert "keeps 2 MiB less" in told(compiled=less)


def test_without_a_compiled_program_nothing_is_said_of_xla() -> None:
    assert "XLA" not in told(compiled=None, checkpointing=None, limit=None)


def test_arrays_of_a_loop_are_told_by_step() -> None:
    loop, plain, *_ = memory_of(remembered()).kept
    assert form_of(loop) == "12 steps of f32[64,1024]"
    assert form_of(plain) == "bf16[64,1024]"


def test_checkpoints_that_the_compiler_undid_are_told_as_such() -> None:
    tried = memory_of(remembered()).checkpointing
    assert tried is not None
    undone = replace(tried, trials=(replace(tried.trials[0], undone=True),))
    text = told(checkpointing=undone)
    assert "holds as much with checkpoints as without" in text
    assert "takes the accounted peak to 4 MiB" in text
    assert "takes the peak to 4 MiB for +30% operations, with the same gradient" in told()
    nothing = replace(tried, recommended="")
    assert "No policy on `block` saves a tenth of the peak." in told(checkpointing=nothing)


@pytest.mark.parametrize(
    ("reduction", "text"),
    [
        ("mean", "the mean of the gradients of two halves is that of the whole (tried)"),
        ("sum", "the sum of the gradients of two halves is that of the whole (tried)"),
        ("neither", "neither the mean nor the sum"),
        ("", "was not tried"),
    ],
)
def test_accumulation_says_what_was_tried(reduction: str, text: str) -> None:
    limit = memory_of(remembered()).limit
    assert limit is not None
    assert text in told(limit=replace(limit, accumulation=Accumulation(2, 32, reduction)))


def test_no_batch_fits() -> None:
    limit = memory_of(remembered()).limit
    assert limit is not None
    assert "Not even a batch of one row" in told(limit=replace(limit, rows=0, accumulation=None))


def test_the_page_draws_a_bar_for_each_layer_and_names_do_nothing() -> None:
    page = shown(remembered(), "html")
    assert page.count('<li><span class="name">') >= 3
    assert "sub, for d tanh: 3 MiB in 1 array, 12 steps of f32[64,1024]" in page
    assert HOSTILE not in page
    assert "<script" not in page


@pytest.mark.parametrize("name", ["sarif", "junit", "github", "gitlab", "json"])
def test_machines_get_the_finding(name: str) -> None:
    assert "memory-over-limit" in shown(remembered(), name)


def test_the_line_to_write_is_code_in_every_language() -> None:
    """`step` is a word of ours, too."""
    tried = memory_of(remembered()).checkpointing
    assert tried is not None
    line = "step = jax.checkpoint(step)"
    report = replace(
        remembered(),
        memory=replace(memory_of(remembered()), checkpointing=replace(tried, block="step", line=line)),
    )
    with speaking("ja"):
        text = shown(report, "terminal")
    assert line in text
    assert "`step` の勾配チェックポイント" in text
