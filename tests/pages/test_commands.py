"""What a page tells its reader to type can be typed, from its top to its bottom, and so can the examples of
every help page. Trainings of a thousand steps and more are cut to 200."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

from gradscope.cli.commands import COMMANDS
from tests.pages.reader import Reader, problem_of, saved
from tests.pages.reading import PAGES, blocks, examples, lines, named
from tests.pages.shell import Typed

ELSEWHERE = {
    "python3 -m venv": "it installs: .ci/run runs both on a fresh clone",
    "pip install": "it installs",
    "srun": "a cluster: tests/sharded/test_recipes.py has a stand-in for it",
    "--coordinator": "other machines: tests/sharded/test_recipes.py starts them all on this one",
    "| jq": "a program that may not be there: tests/serialization/test_json_schema.py holds the keys",
    "gradscope mcp": "it serves its standard input: tests/cli/test_mcp.py talks to it",
    "python -m gradscope mcp": "the same",
}
"""What is not typed here, by what is in it, and why."""
LONG = {
    "README.md",
    "README.ja.md",
    "gradscope/templates/SKILL.md",
    "docs/ci.md",
    "docs/cost.md",
    "docs/fix.md",
    "docs/formats.md",
    "docs/memory.md",
    "docs/scale.md",
    "docs/symptoms.md",
    "docs/textbook.md",
    "docs/through-time.md",
    "docs/widths.md",
    "docs/curvature.md",
    "docs/rules/optimizer-regression.md",
    "gradscope/language/ja/pages/rules/optimizer-regression.md",
    "gradscope/language/ja/pages/symptoms.md",
    "sample_models/README.md",
    "gradscope check",
    "gradscope compare-optimizers",
    "gradscope cost",
    "gradscope fix",
    "gradscope init",
    "gradscope memory",
    "gradscope monitor",
}
OWN = {"docs/first-five-minutes.md", "docs/ja/first-five-minutes.md"}
"""Pages whose first program is the reader's file."""
LANGUAGE = '[tool.gradscope]\nlang = "ja"\n'
WRITES = re.compile(
    r"--save|--record|--report|--output|--write-baseline|--export|--apply|>|gradscope init|git"
)
typed_before: dict[tuple[str, str], Typed] = {}
"""What writes nothing is typed once by each process."""


def elsewhere(line: str) -> bool:
    return any(part in line for part in ELSEWHERE)


@pytest.fixture(autouse=True)
def as_a_reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Without the settings of a process for one command, and with nothing left of what the reader imports."""
    monkeypatch.setattr("gradscope.processes.prepare.prepare_process", lambda: None)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    shutil.rmtree(tmp_path, ignore_errors=True)


def wrong(line: str, typed: Typed) -> str:
    """What speaks against it: the healthy stand-in is healthy, and a code that the page names is the code."""
    command, _, comment = line.partition(" #")
    codes = [typed.code, *typed.codes]
    said = re.search(r"exit code (\d)", comment)
    may_be_sick = re.search(r"sample_models/|deep_sigmoid|gradscope fix|git apply", command)
    allowed = {int(said[1])} if said else {0, 1} if may_be_sick else {0}
    unseen = "Traceback" in typed.err
    return "" if set(codes) <= allowed and not unseen else f"{codes}: {typed.err[-800:]}{typed.out[-800:]}"


def faults(
    commands: list[str], folder: Path, own: str = "", *, settings: str = "", with_a_run: bool = False
) -> dict[str, str]:
    reader = Reader(folder, own)
    if settings:
        (reader.folder / "gradscope.toml").write_text(settings)
    if with_a_run:
        saved(reader.folder / "run.json")
    found = {}
    for line in commands:
        known = (line.partition(" #")[0].strip(), (own or problem_of(line)) + settings)
        if elsewhere(line):
            continue
        typed = typed_before.get(known) or reader.types(line)
        if not WRITES.search(line):
            typed_before[known] = typed
        if why := wrong(line, typed):
            found[line] = why
    return found


def cases(names: list[str]) -> list[object]:
    return [pytest.param(name, marks=[pytest.mark.slow] if name in LONG else []) for name in names]


WITH_COMMANDS = {named(page): found for page in PAGES if (found := lines(page.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("page", cases(list(WITH_COMMANDS)))
def test_what_a_page_says_can_be_typed(page: str, tmp_path: Path) -> None:
    own = blocks(page, "python")[0] if page in OWN else ""
    settings = "".join(text for text in blocks(page, "toml") if text.startswith(LANGUAGE)) and 'lang = "ja"\n'
    assert faults(WITH_COMMANDS[page], tmp_path, own, settings=settings) == {}


@pytest.mark.parametrize("command", cases([f"gradscope {name}" for name in COMMANDS]))
def test_the_examples_of_a_help_page_can_be_typed(command: str, tmp_path: Path) -> None:
    """Those of `report` are for a run that is there."""
    asked = examples(command.partition(" ")[2])
    assert faults(asked, tmp_path, with_a_run=command == "gradscope report") == {}


@pytest.mark.parametrize("part", ELSEWHERE)
def test_what_is_not_typed_still_stands_on_a_page(part: str) -> None:
    everything = chain(*WITH_COMMANDS.values(), *map(examples, COMMANDS))
    assert any(part in line for line in everything)


def test_names_of_long_pages_are_pages() -> None:
    assert {*LONG, *OWN} <= {*WITH_COMMANDS, *(f"gradscope {name}" for name in COMMANDS)}


def test_a_command_that_does_not_do_what_the_page_says_is_seen(tmp_path: Path) -> None:
    page = "    gradscope explain no-such\n\n    gradscope rules   # exit code 1\n\n    gradscope rules\n"
    assert list(faults(lines(page), tmp_path)) == [
        "gradscope explain no-such",
        "gradscope rules   # exit code 1",
    ]
