"""What the TAB key offers, asked as a shell asks it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gradscope.cli import completion
from gradscope.report import FORMATS
from gradscope.rules import all_rules
from tests.cli.conftest import Run

Tab = Callable[[str], list[str]]
RULES = [rule.name for rule in all_rules()]


@pytest.fixture
def tab(run: Run, monkeypatch: pytest.MonkeyPatch) -> Tab:
    def tab(line: str) -> list[str]:
        monkeypatch.setenv("_GRADSCOPE_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", str(len(line.split(" ")) - 1))
        result = run()
        assert result.err == ""
        return result.out.split()

    return tab


def test_commands_and_rules_are_offered(tab: Tab) -> None:
    assert tab("gradscope expl") == ["explain"]
    assert sorted(tab("gradscope explain ")) == sorted(RULES)
    assert sorted(tab("gradscope check model.py --ignore ")) == sorted(RULES)


def test_the_last_of_several_rules_is_completed_and_none_twice(tab: Tab) -> None:
    assert tab("gradscope check m.py --select non-finite,wro") == [
        "non-finite,wrong-gradient",
        "non-finite,wrong-attention-axis",
        "non-finite,wrong-mode",
    ]
    assert "non-finite,non-finite" not in tab("gradscope check m.py --select non-finite,")


def test_the_gate_takes_severities_and_rules_and_never_only_alone(tab: Tab) -> None:
    assert {"error", "warning", "note", "never", *RULES} == set(tab("gradscope check m.py --fail-on "))
    assert "error,never" not in tab("gradscope check m.py --fail-on error,")
    assert "error,note" in tab("gradscope check m.py --fail-on error,")


def test_a_further_report_is_offered_by_its_format(tab: Tab) -> None:
    assert tab("gradscope check m.py --report sa") == ["sarif="]


def test_a_command_offers_the_formats_that_it_has(tab: Tab) -> None:
    assert set(tab("gradscope check m.py --format ")) == set(FORMATS)
    assert set(tab("gradscope rules --format ")) == {"terminal", "json"}


def test_targets_are_python_files_at_any_depth(
    tab: Tab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in ("a.py", "data.csv", "models/rnn.py", ".venv/x.py", "models/__pycache__/y.py", "mine.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    assert tab("gradscope check ") == ["a.py", "mine.py", "models/rnn.py"]
    assert tab("gradscope verify m") == ["mine.py", "models/rnn.py"]
    assert tab("gradscope verify models/") == ["models/rnn.py"]
    assert tab("gradscope find-lr ./a") == ["./a.py"]
    assert tab("gradscope compare-optimizers nowhere/") == []


def test_a_file_whose_name_a_shell_would_evaluate_is_not_offered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ('x")`touch y`.py', "two words.py", "$(z).py", "größe.py"):
        (tmp_path / name).touch()
    assert completion.python_file("") == ["größe.py"]


def test_a_wide_tree_is_not_searched_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(completion.MOST_FOLDERS * 2):
        (tmp_path / f"d{number:03}").mkdir()
        (tmp_path / f"d{number:03}/m.py").touch()
    assert 0 < len(completion.python_file("")) < completion.MOST_FOLDERS


PRESS = """
import json, os, sys
os.environ["_GRADSCOPE_COMPLETE"] = "complete_bash"
os.environ |= {"COMP_WORDS": "gradscope check --select n", "COMP_CWORD": "3"}
from gradscope.cli.app import main
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted({"jax", "numpy", "optax", "rich.console"} & set(sys.modules))), file=sys.stderr)
"""


def test_a_press_of_the_key_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", PRESS], capture_output=True, text=True, check=True)
    names = ["normalized-away", "non-finite", "not-updated", "noisy-gradient", "non-finite-update"]
    assert done.stdout.splitlines() == names
    assert json.loads(done.stderr) == []


def test_the_script_for_a_shell_is_printed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    result = run("--show-completion", "bash")
    assert result.code == 0
    assert "complete -o default -F _gradscope_completion gradscope" in result.out
