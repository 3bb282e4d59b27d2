"""The Python of every page runs as it is printed, from the top of its page to its bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import fragments
from tests.pages.programs import IMPORTED, Program
from tests.pages.reading import PAGES, ROOT, named, programs

ELSEWHERE = {
    (
        "docs/frameworks.md",
        "batch = ",
    ): "tests/load/test_frameworks_page.py loads each file",
    ("docs/monitor.md", "import wandb"): "a service: tests/recording/test_tracker.py has a stand-in for it",
    ("docs/monitor.md", "from tensorboardX"): "not installed: the same file has a stand-in for it",
}
"""What is not run here, by its page and what is in it, and why."""
RULES = ROOT / "docs/rules"
SHOWN = {
    named(page): found
    for page in PAGES
    if "rules" not in page.parts and (found := [part.text for part in programs(page.read_text("utf-8"))])
}
FRAGMENTS = {
    page.stem: found
    for page in sorted(RULES.glob("*.md"))
    if (found := [part.text for part in programs(page.read_text("utf-8"))])
}
LONG = {"docs/library.md", "docs/ja/first-five-minutes.md"}
MINE = {"docs/first-five-minutes.md", "docs/ja/first-five-minutes.md"}
"""Pages whose first program is the reader's file."""


def elsewhere(page: str, block: str) -> bool:
    return any(page == where and part in block for where, part in ELSEWHERE)


@pytest.mark.parametrize(
    "page", [pytest.param(page, marks=[pytest.mark.slow] if page in LONG else []) for page in SHOWN]
)
def test_the_python_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = Program(tmp_path, SHOWN[page][0] if page in MINE else IMPORTED)
    for block in SHOWN[page]:
        if not elsewhere(page, block):
            program.runs(block)


@pytest.mark.parametrize("rule", FRAGMENTS)
def test_the_lines_on_the_page_of_a_rule_can_be_traced(
    rule: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fragments.trace(rule, FRAGMENTS[rule])


@pytest.mark.parametrize(("page", "part"), ELSEWHERE)
def test_what_is_not_run_still_stands_on_a_page(page: str, part: str) -> None:
    assert any(part in block for block in SHOWN[page])


def test_what_is_set_for_a_page_is_set_for_one_that_is_there() -> None:
    of_rules = {*fragments.AROUND, *fragments.OVER_DEVICES, *fragments.IN_A_MODULE, *fragments.WITH_NUMBERS}
    assert of_rules <= set(FRAGMENTS)
    assert {*LONG, *MINE} <= set(SHOWN)


def test_a_page_that_does_not_run_as_printed_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = Program(tmp_path)
    program.runs("first = loss_fn(params, batch)\n")
    program.runs("def loss_fn(params, batch): ...\n")
    program.runs("assert loss_fn(params, batch) == first\n")
    with pytest.raises(NameError, match="gradscope"):
        program.runs("gradscope.check(loss_fn, params, batch)\n")
    with pytest.raises(AssertionError, match="1 failed"):
        program.runs("def test_it():\n    assert False\n")
    with pytest.raises(TypeError, match="contract"):
        fragments.trace("dead-units", ["h = jax.nn.relu(x @ jnp.ones((7, 7)))"])
