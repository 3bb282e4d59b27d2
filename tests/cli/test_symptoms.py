"""`gradscope explain --symptom`: the section that has the words, and commands and rules that exist."""

from __future__ import annotations

import re
import shlex

import pytest

from gradscope.cli import error_pages
from gradscope.cli.commands import COMMANDS, loaded
from gradscope.rules import sources
from tests.cli.conftest import Run

SYMPTOMS = error_pages.symptoms()


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("nan", "loss is NaN or infinite"),
        ("not move", "loss does not move"),
        ("accuracy at chance", "loss stays at ln C, accuracy at chance"),
        ("ln C", "loss stays at ln C, accuracy at chance"),
        ("only last layers", "only the last layers learn"),
        ("validation", "training loss falls, validation loss rises"),
        ("memory", "out of memory"),
    ],
)
def test_words_lead_to_their_section(words: str, title: str, run: Run) -> None:
    assert run("explain", "--symptom", words).out.startswith(f"# {title}\n")


def test_unknown_words_list_what_is_known(run: Run) -> None:
    result = run("explain", "--symptom", "xyzzy")
    assert result.code == 2
    assert "only the last layers learn" in " ".join(result.err.split())
    assert run("explain").code == 2
    assert run("explain", "non-finite", "--symptom", "nan").code == 2


@pytest.mark.parametrize("title", SYMPTOMS)
def test_what_a_section_names_exists(title: str, run: Run) -> None:
    text = SYMPTOMS[title]
    assert set(re.findall(r"`([a-z]+-[a-z-]+)`", text)) <= {*sources.files(), "find-lr"}
    commands = re.findall(r"gradscope ([a-z][^`\n#]+)", text)
    assert commands
    for command in commands:
        name, *arguments = shlex.split(command)
        assert name in COMMANDS
        page = run(name, "--help-all" if loaded(name).main_options else "--help").out
        assert all(each in page for each in arguments if each.startswith("--"))
