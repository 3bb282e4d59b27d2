"""What the variables of the environment say about colours and animation."""

from __future__ import annotations

import io

import pytest

from gradscope.cli import screen
from gradscope.cli.screen import Color

VARIABLES = ("NO_COLOR", "FORCE_COLOR", "TERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def stream(where: str) -> io.StringIO:
    return Terminal() if where == "terminal" else io.StringIO()


@pytest.fixture(autouse=True)
def _nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("where", "variables", "colored", "interactive"),
    [
        ("terminal", "", True, True),
        ("terminal", "TERM=dumb", False, False),
        ("terminal", "NO_COLOR=1", False, True),
        ("terminal", "NO_COLOR=1 FORCE_COLOR=1 TTY_COMPATIBLE=1", False, True),
        ("terminal", "NO_COLOR=", True, True),
        ("terminal", "TTY_COMPATIBLE=0", False, False),
        ("terminal", "TTY_INTERACTIVE=0", True, False),
        ("terminal", "TERM=dumb FORCE_COLOR=1", True, False),
        ("pipe", "", False, False),
        ("pipe", "TERM=xterm-256color", False, False),
        ("pipe", "FORCE_COLOR=1", True, False),
        ("pipe", "TTY_COMPATIBLE=1", True, False),
        ("pipe", "TTY_COMPATIBLE=1 TTY_INTERACTIVE=1", True, True),
    ],
)
def test_variables_decide_on_colours_and_on_animation(
    where: str, variables: str, colored: bool, interactive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for entry in variables.split():
        name, _, value = entry.partition("=")
        monkeypatch.setenv(name, value)
    assert screen.colored(stream(where), Color.AUTO) == colored
    assert screen.interactive(stream(where)) == interactive


def test_the_option_wins_over_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert screen.colored(None, Color.ALWAYS)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not screen.colored(Terminal(), Color.NEVER)
    assert not screen.colored(None, Color.AUTO), "a file has no colours unless they are asked for"
