"""batch-leak: what is told of a softmax over the rows, and of a reshape that mixes them."""

from __future__ import annotations

from gradscope.records import BatchLeak, BatchMix, Finding, Objective, Severity
from tests.rules.made import found, layer, measured, source

RULE = "batch-leak"
SOFTMAX = BatchLeak(BatchMix.SOFTMAX, source(7), "head", (64, 10), 0, classes=1, function="log_softmax")
RESHAPE = BatchLeak(
    BatchMix.RESHAPE, source(9), "embed", (8, 12, 3), 0, result=(12, 8, 3), example=3, change=0.2, largest=0.9
)


def told(*leaks: BatchLeak) -> list[Finding]:
    objective = Objective(batch_leaks=leaks)
    return found(measured([layer("embed", 1), layer("head", 2)], loss=4.3, objective=objective), RULE)


def test_examples_that_are_apart_are_quiet() -> None:
    assert told() == []


def test_a_softmax_over_the_rows_is_an_error_with_both_axes_and_both_losses() -> None:
    (finding,) = told(SOFTMAX)
    assert finding.severity is Severity.ERROR
    assert (finding.layer, finding.source) == ("head", source(7))
    assert "log_softmax runs over the 64 rows of its (64, 10) (axis 0)" in finding.message
    assert "the 10 classes of each row (axis 1)" in finding.message
    assert "ln 64 = 4.16 in place of ln 10 = 2.3; the loss is 4.3." in finding.message
    assert "`axis=-1`" in finding.remedy


def test_a_reshape_is_a_warning_with_both_shapes_and_the_change() -> None:
    (finding,) = told(RESHAPE)
    assert finding.severity is Severity.WARNING
    assert "turns (8, 12, 3) into (12, 8, 3)" in finding.message
    assert (
        "the output for example 3, which was not, changed by 0.2 (by 0.9 at most for any)" in finding.message
    )
    assert "swapaxes" in finding.remedy


def test_one_line_is_told_once() -> None:
    assert len(told(SOFTMAX, SOFTMAX, RESHAPE)) == 2


def test_a_loop_over_the_examples_is_a_warning_with_both_axes_and_the_change() -> None:
    loop = BatchLeak(
        BatchMix.RECURRENCE, source(8), "cell", (64, 96, 16), 0, places=96, example=3, change=0.2, largest=0.9
    )
    (finding,) = told(loop)
    assert (finding.severity, finding.source) == (Severity.WARNING, source(8))
    assert "runs over the 64 examples of its (64, 96, 16)" in finding.message
    assert "a row for each of their 96 places" in finding.message
    assert "the output for example 3, which was not, changed by 0.2" in finding.message
