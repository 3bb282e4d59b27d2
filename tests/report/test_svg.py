"""The picture of the terminal: whole, harmless, and the same each time."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from gradscope.records import Report, Suite
from tests.report.canned import CANNED, broken, deep
from tests.report.pages import shown
from tests.serialization.test_suite_json import several

SVG = "{http://www.w3.org/2000/svg}"


def words(picture: str) -> str:
    """The text of the picture; Rich keeps blanks from collapsing with no-break spaces."""
    root = ElementTree.fromstring(picture)
    lines = ("".join(element.itertext()) for element in root.iter(f"{SVG}text"))
    return " ".join(" ".join(lines).replace("\xa0", " ").split())


@pytest.mark.parametrize("name", CANNED)
def test_it_shows_every_word_that_the_terminal_shows(name: str) -> None:
    # A word in two colours is two elements.
    drawn = words(shown(CANNED[name](), "svg", width=100)).replace(" ", "")
    text = shown(CANNED[name](), width=100)
    assert {word for word in text.split() if word not in drawn} == set()


@pytest.mark.parametrize("run", [broken(), several()])
def test_it_loads_nothing_and_runs_nothing(run: Report | Suite) -> None:
    picture = shown(run, "svg")
    root = ElementTree.fromstring(picture)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "style", "defs", "clipPath", "rect", "g", "circle", "text")
    }
    assert not re.search(r"@font-face|@import|href|url\((?!#)", picture)


def test_the_same_run_gives_the_same_picture() -> None:
    assert shown(deep(), "svg") == shown(deep(), "svg")
