"""Every sample model gets the verdict that its index claims, by the right rule, at the right layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from gradscope.records import Finding, Report, Severity
from gradscope.records.options import CheckOptions
from gradscope.runs.check import check as checked
from tests.samples.expected import EXPECTED, Expected
from tests.samples.fields import SAMPLES, needed

ONE_OF_EACH = {
    "actor_critic_pairs.py", "diffusion_same_noise.py", "readmission_softmax.py",
    "argmax_bottleneck.py", "dead_relu_mlp.py", "deep_sigmoid_mlp.py", "disconnected_parameter.py",
    "exploding_rnn.py", "frozen_backbone.py", "gated_rnn.py", "huge_init_mlp.py", "log_of_softmax.py",
    "nan_where.py", "relu_physics.py", "right_rule_mlp.py", "safe_where.py", "small_transformer.py",
    "vanilla_rnn.py", "wrong_rule_mlp.py",
}  # fmt: skip
"""Every rule once, and some that are healthy: the others are tried with `--runslow`."""


def samples(*, of: Callable[[Expected], object]) -> pytest.MarkDecorator:
    chosen = sorted(file for file, expected in EXPECTED.items() if of(expected))
    marks = {file: () if file in ONE_OF_EACH else pytest.mark.slow for file in chosen}
    return pytest.mark.parametrize("file", [pytest.param(file, marks=marks[file]) for file in chosen])


@cache
def check(file: str) -> Report:
    for framework in needed(file):
        pytest.importorskip(framework)
    return checked(str(SAMPLES / file), options=CheckOptions(verified=EXPECTED[file].verified))


def of_severity(report: Report, severity: Severity) -> list[Finding]:
    return [finding for finding in report.findings if finding.severity is severity]


@samples(of=lambda expected: True)
def test_sample_gets_its_verdict_rule_and_layer(file: str) -> None:
    expected = EXPECTED[file]
    report = check(file)
    errors = of_severity(report, Severity.ERROR)
    told = "\n".join(f"{f.severity} {f.rule} at {f.layer}: {f.message}" for f in report.findings)

    assert report.verdict == expected.verdict, told
    assert {finding.rule for finding in errors} == ({expected.rule} if expected.rule else set()), told
    assert {finding.layer for finding in errors} <= set(expected.layers), told


@samples(of=lambda expected: expected.verdict == "healthy")
def test_healthy_sample_is_not_even_warned_about(file: str) -> None:
    findings, warning = check(file).findings, EXPECTED[file].warning
    assert {f.rule for f in findings if f.rule != warning} <= {EXPECTED[file].remark}, findings
    assert all(f.severity is Severity.NOTE for f in findings if f.rule != warning), findings


@samples(of=lambda expected: expected.warning)
def test_sample_that_is_not_sick_yet_is_warned_about_once(file: str) -> None:
    (finding,) = check(file).findings
    assert (finding.rule, finding.severity) == (EXPECTED[file].warning, Severity.WARNING)
    assert finding.layer in EXPECTED[file].layers


@samples(of=lambda expected: expected.line)
def test_finding_points_at_the_line_of_the_sample(file: str) -> None:
    lines = (SAMPLES / file).read_text(encoding="utf-8").splitlines()
    found = check(file).findings if EXPECTED[file].warning else of_severity(check(file), Severity.ERROR)
    for finding in found:
        assert finding.source is not None
        assert Path(finding.source.file).name == file
        assert finding.source.text == lines[finding.source.line - 1].strip()
        assert EXPECTED[file].line in finding.source.text


def test_table_and_index_name_every_sample() -> None:
    files = {path.name for path in SAMPLES.glob("*.py")}
    index = (SAMPLES / "README.md").read_text(encoding="utf-8")
    assert files == set(EXPECTED)
    assert [file for file in sorted(files) if f"`{file}`" not in index] == []
