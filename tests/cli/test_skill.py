"""`gradscope skill`: short, and every command and option in it exists."""

from __future__ import annotations

import re
import shlex

import pytest

from gradscope.cli.commands import COMMANDS, loaded
from gradscope.cli.skill import PAGE
from gradscope.rules import sources
from tests.cli.conftest import Run

TEXT = PAGE.read_text(encoding="utf-8")
USED = sorted(set(re.findall(r"`gradscope ([^`\n]+)`", TEXT)))


def test_it_is_printed_and_costs_less_than_2000_tokens(run: Run) -> None:
    assert run("skill").out == TEXT
    assert len(TEXT) < 3 * 2000


@pytest.mark.parametrize("command", USED)
def test_what_it_names_exists(command: str, run: Run) -> None:
    name, *arguments = shlex.split(command)
    assert name in COMMANDS
    help_page = run(name, "--help-all" if loaded(name).main_options else "--help").out
    for option in (each for each in arguments if each.startswith("--")):
        assert option in help_page


def test_the_rules_it_names_are_rules() -> None:
    named = set(re.findall(r"`([a-z]+-[a-z-]+)`", TEXT))
    assert named <= set(sources.files())
