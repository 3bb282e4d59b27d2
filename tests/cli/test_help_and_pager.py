"""Help pages, errors of the command line, and long pages at a terminal."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gradscope.cli import pager, screen
from gradscope.cli.commands import COMMANDS, loaded
from gradscope.cli.completion import OWN_FORMATS
from gradscope.cli.options import PAGE_FORMATS
from gradscope.report.diff import RENDERERS
from tests.cli.conftest import Run

ROWS = 40
"""Of a terminal of 80 columns, as one opens."""


def whole_page(run: Run, command: str) -> str:
    return run(command, "--help-all" if loaded(command).main_options else "--help").out


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_on_a_screen_and_has_three_examples(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = run(*command.split(), "--help").out.splitlines()
    assert len(lines) < ROWS
    assert max(map(len, lines)) <= 80
    examples = lines[lines.index("Examples") + 1 :]
    assert len(examples) == 3
    assert all("gradscope" in example for example in examples), "one has more than a line"


@pytest.mark.parametrize("command", COMMANDS)
def test_an_example_is_a_command_line_that_is_taken(command: str) -> None:
    for example in re.findall(r"\*\*(.+?)\*\*", loaded(command).epilog):
        for part in re.split(r" \| | && | > ", example):
            words = [word for word in shlex.split(part) if not re.match(r"[A-Z_]+=", word)]
            if words[0] == "gradscope":
                loaded(words[1]).make_context(words[1], words[2:])


@pytest.mark.parametrize("command", COMMANDS)
def test_the_main_options_exist_and_the_rest_is_counted(run: Run, command: str) -> None:
    found, page = loaded(command), run(command, "--help").out
    context = found.make_context(command, [], resilient_parsing=True)
    options = [each for each in found.get_params(context) if each.param_type_name == "option"]
    names = {name for each in options for name in each.opts}
    assert set(found.main_options) <= names
    if found.main_options:
        left = len(options) - len(found.main_options)
        assert f"{left} more options: gradscope {command} --help-all" in " ".join(page.split())
    whole = whole_page(run, command)
    assert {name for name in names if name.startswith("--") and name not in whole} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_a_help_page_shows_no_types_of_the_implementation(run: Run, command: str) -> None:
    help_page = whole_page(run, command)
    for type_name in ("<bool>", "<str>", "<list[str]>", "<int>", "<float>"):
        assert type_name not in help_page


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    assert loaded(name).help.partition("\n\n")[0] == COMMANDS[name]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["check", "--fooo"], "No such option: --fooo. Did you mean"),
        (["chekc"], "Did you mean 'check'?"),
        (["find-lr"], "Missing argument 'TARGET'."),
        (["find-lr", "m.py", "--steps", "x"], "--steps"),
        (["check", "m.py", "--color", "blue"], "'blue' is not one of"),
    ],
)
def test_a_command_line_that_cannot_be_read_is_an_error_as_any_other(
    run: Run, words: list[str], said: str
) -> None:
    result = run(*words)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("error: ")
    assert said in " ".join(result.err.split())
    assert re.search(r"--help(-all)?` lists", result.err)
    assert "╭" not in result.err


def test_the_formats_that_are_completed_are_those_that_a_command_has() -> None:
    assert OWN_FORMATS["diff"] == tuple(RENDERERS)
    assert OWN_FORMATS["rules"] == OWN_FORMATS["explain"] == PAGE_FORMATS


@pytest.fixture
def at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pager, "_is_long", lambda text: text.count("\n") > 3)


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(screen, "emit", found.append)
    return found


def test_a_long_page_goes_to_the_pager(
    at_a_terminal: None, emitted: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read = tmp_path / "read"
    monkeypatch.setenv("PAGER", f"tee {read}")
    pager.show("a\nb\nc\nd\ne\n")
    assert read.read_text(encoding="utf-8") == "a\nb\nc\nd\ne\n"
    assert emitted == []


@pytest.mark.parametrize("asked", ["", "cat", "no-such-pager"])
def test_without_a_pager_the_page_is_written_at_once(
    at_a_terminal: None, emitted: list[str], monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("PAGER", asked)
    pager.show("a\nb\nc\nd\ne\n")
    assert emitted == ["a\nb\nc\nd\ne\n"]


def test_a_short_page_and_one_that_is_piped_are_written_at_once(
    emitted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAGER", "false")
    pager.show("a\n" * 500)
    pager.show("a\n" * 500, paged=False)
    assert len(emitted) == 2, "stdout of a test is no terminal"
