"""`report`, `rules`, `explain`, `--help`, `--version`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from gradscope.errors import GradscopeError
from gradscope.records import TargetError
from gradscope.rules import all_rules
from gradscope.serialization import report_json
from gradscope.serialization.json_schema import schema
from tests.cli.conftest import Run
from tests.report.canned import deep


def test_gradscope_alone_shows_its_help_and_judges_nothing(run: Run) -> None:
    result = run()
    assert result.code == 2
    assert "check" in result.out + result.err
    assert run("--help").code == 0


COMMANDS = [
    "check",
    "fix",
    "compare-optimizers",
    "find-lr",
    "memory",
    "cost",
    "curvature",
    "verify",
    "init",
    "report",
    "diff",
    "rules",
    "explain",
    "skill",
    "mcp",
    "doctor",
]


@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_every_command_has_a_help_page_that_lists_flags_without_a_type(run: Run, command: str) -> None:
    result = run(*command.split(), "--help")
    assert result.code == 0
    assert command in result.out
    assert "--help" in result.out
    assert "<bool>" not in result.out


def test_the_help_of_diff_names_its_own_default(run: Run) -> None:
    assert "[never]" in run("diff", "--help").out


def test_the_version_names_jax_too(run: Run) -> None:
    assert re.fullmatch(r"gradscope \S+ \(jax \S+, Python 3\.\d+\.\d+\S*\)\n", run("--version").out)


def test_the_schema_is_printed(run: Run) -> None:
    assert json.loads(run("schema").out) == schema()


def test_rules_are_listed_by_family(run: Run) -> None:
    result = run("rules")
    assert result.code == 0
    for rule in all_rules():
        assert rule.name in result.out
        assert rule.family in result.out
    names = [entry["name"] for entry in json.loads(run("rules", "--format", "json").out)["rules"]]
    assert names == [rule.name for rule in all_rules()]


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_the_list_of_rules_fits(run: Run, columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert max(map(len, run("rules").out.splitlines())) <= int(columns)


def test_a_page_is_markdown_off_a_terminal(run: Run) -> None:
    rule = all_rules()[0]
    assert run("explain", rule.name).out == f"# {rule.name}\n\n{rule.page}\n"
    assert "\x1b[1m" in run("explain", rule.name, "--color", "always").out
    assert json.loads(run("explain", rule.name, "--format", "json").out)["rule"]["page"] == rule.page


def test_an_unknown_rule_is_answered_with_the_nearest(run: Run) -> None:
    result = run("explain", "non-finit")
    assert result.code == 2
    assert "non-finite" in result.err


def test_an_error_names_the_command_that_explains_it(run: Run) -> None:
    *_, last = run("explain", "non-finit").err.splitlines()
    assert last == "  gradscope explain unknown-rule"
    page = run(*last.split()[1:]).out
    assert page.startswith("# unknown-rule\n\n`--select`, ")
    assert "#" not in page.removeprefix("#")
    assert json.loads(run(*last.split()[1:], "--format", "json").out)["error"]["name"] == "unknown-rule"


def test_a_misspelled_error_is_answered_with_the_nearest(run: Run) -> None:
    assert "no-batches" in run("explain", "no-batch").err


def test_a_saved_run_can_be_gated_again(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "run.json")
    report_json.save(deep(), path)
    assert run("report", path).code == 1
    assert run("report", path, "--fail-on", "never").code == 0
    assert run("report", path, "--output", path).code == 2
    assert run("report", path).code == 1


def test_a_rule_that_only_the_saved_run_knows_can_be_gated_on(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(report_json.dumps(deep()).replace('"vanishing-gradient"', '"rule-of-a-plugin"'))
    assert run("report", str(path), "--fail-on", "rule-of-a-plugin").code == 1


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 7, "layers": []}'])
def test_a_file_that_is_no_report_answers_2(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    result = run("report", str(path))
    assert result.code == 2
    assert result.err.startswith("error: ")
    assert "Traceback" not in result.err


def test_an_error_of_another_process_keeps_the_name_of_its_section() -> None:
    first = GradscopeError("No batch.", slug="no-batches")
    again = TargetError.of(first).as_exception()
    assert again.slug == "no-batches"
    assert TargetError.of(again) == TargetError.of(first)


@pytest.mark.parametrize("target", ["model.py", "src/model.py:loss_fn", "package.module:loss_fn"])
def test_a_target_without_a_command_gets_the_command(run: Run, target: str) -> None:
    result = run(target, "--brief")
    assert result.code == 2
    assert f"Did you mean `gradscope check {target} --brief`?" in " ".join(result.err.split())


def test_a_misspelled_command_is_no_target(run: Run) -> None:
    result = run("chek")
    assert result.code == 2
    assert "'check'" in result.err
