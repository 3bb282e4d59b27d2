"""The documents name what exists: error slugs, links, and the two commands of the README."""

from __future__ import annotations

import html
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from gradscope.cli.commands import COMMANDS, loaded
from gradscope.cli.error_pages import PLACES, sections_of, table
from gradscope.report import FORMATS
from gradscope.report.shared.columns import COLUMNS
from gradscope.rules import all_rules
from gradscope.serialization import report_json
from tests.pages.reading import commands
from tests.report.canned import broken

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / name
    for name in ("README.md", "README.ja.md", "CONTRIBUTING.md", "CHANGELOG.md", "sample_models/README.md")
]


def dead_links(page: Path) -> list[str]:
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
    return [t for t in targets if "://" not in t and not (page.parent / t).exists()]


def slugs(source: Path) -> set[str]:
    texts = (file.read_text(encoding="utf-8") for file in source.rglob("*.py"))
    return {slug for text in texts for slug in re.findall(r'slug="([^"]+)"', text)}


def headings(page: Path) -> set[str]:
    return set(sections_of(page.read_text(encoding="utf-8")))


def test_every_error_has_a_section_and_every_section_an_error() -> None:
    assert slugs(ROOT / "gradscope") ^ headings(ROOT / "docs/errors.md") == set()


def test_no_error_has_the_name_of_a_rule() -> None:
    assert {rule.name for rule in all_rules()} & headings(ROOT / "docs/errors.md") == set()


def test_the_wheel_has_the_page_where_explain_looks_for_it() -> None:
    built = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    included = built["targets"]["wheel"]["force-include"]
    for page in ("errors.md", "reading-a-report.md", "symptoms.md"):
        assert (ROOT / included[f"docs/{page}"], ROOT / "docs" / page) == tuple(p / page for p in PLACES)


def test_the_page_on_the_table_tells_of_each_column() -> None:
    for column in COLUMNS:
        assert f"| {column.heading} |" in table(), column.heading


def test_links_between_the_documents_lead_somewhere() -> None:
    pages = [*PAGES, *(ROOT / "docs").rglob("*.md")]
    assert {str(page.relative_to(ROOT)): dead for page in pages if (dead := dead_links(page))} == {}


def test_readme_has_one_command_to_try_and_one_to_test() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    tried, tested = (line for line in lines if line.startswith("python3 -m venv"))
    assert (ROOT / tried.split()[-1]).is_file()
    assert tested.endswith("pytest -n 2")


def test_readme_names_every_rule_under_one_question() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    start = lines.index("| question | rules |")
    rows = lines[start + 2 : lines.index("", start)]
    named = [name for row in rows for name in re.findall(r"`([a-z-]+)`", row.split("|")[2])]
    assert sorted(named) == sorted(rule.name for rule in all_rules())


@pytest.mark.parametrize("picture", sorted((ROOT / "docs/pictures").glob("*.svg")), ids=lambda p: p.name)
def test_a_picture_shows_a_line_that_still_stands_there(picture: Path) -> None:
    words = html.unescape(re.sub(r"<[^>]+>", "", picture.read_text(encoding="utf-8"))).replace("\xa0", " ")
    found = re.search(r"(sample_models/\w+\.py):(\d+)\s+(\S.*)", words)
    assert found is not None, "it names no line of a sample"
    lines = (ROOT / found[1]).read_text(encoding="utf-8").splitlines()
    assert found[3].startswith(lines[int(found[2]) - 1].strip())
    assert f"docs/pictures/{picture.name}" in (ROOT / "README.md").read_text(encoding="utf-8")


def keys_of(section: str) -> set[str]:
    """What stands in the first column of a table of the page on JSON."""
    body = (ROOT / "docs/json.md").read_text(encoding="utf-8").partition(f"## {section}\n")[2]
    rows = [line for line in body.partition("\n## ")[0].splitlines() if line.startswith("| `")]
    return {key for row in rows for key in re.findall(r"`([a-z_]+)`", row.split("|")[1])}


@pytest.mark.parametrize(
    ("section", "part"), [("A layer", "layers"), ("A parameter", "parameters"), ("A finding", "findings")]
)
def test_the_page_on_json_has_every_key(section: str, part: str) -> None:
    report = report_json.to_json(broken())
    assert keys_of("The object") == set(report)
    assert keys_of("The flow of the gradient") == set(report["flow"])
    assert keys_of(section) == set({**report, **report["flow"]}[part][0])


def test_the_page_on_json_has_every_key_of_a_recurrence() -> None:
    page = (ROOT / "docs/json.md").read_text(encoding="utf-8")
    text = page.partition("## A recurrence")[2].partition("\n## ")[0]
    (*_, recurrence) = report_json.to_json(broken())["flow"]["recurrences"]
    assert {key for key in recurrence if f"`{key}`" not in text} == set()


def test_the_page_on_formats_has_every_format() -> None:
    page = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(FORMATS)


def commands_in(text: str) -> list[tuple[list[str], bool]]:
    """The words of each command of gradscope on a page, and whether it stands by itself, to be run."""
    found = []
    for command, whole in commands(text):
        for part in re.split(r" \| | && | > |; |\n", command.partition(" #")[0]):
            if part.startswith("gradscope "):
                found.append((shlex.split(part)[1:], whole))
    return found


def refused(words: list[str], whole: bool) -> str:
    """Why this command line would not be taken; a command that is only mentioned may lack its target."""
    if words[0] not in COMMANDS:
        return "" if words[0].startswith("--") else "there is no such command"
    try:
        loaded(words[0]).make_context(words[0], words[1:])
    except Exception as error:
        missing = type(error).__name__ == "MissingParameter"
        return "" if missing and not whole else f"{type(error).__name__}: {error}"
    return ""


WITH_COMMANDS = [
    *(ROOT / name for name in ("README.md", "README.ja.md", "sample_models/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/ja").glob("*.md")),
]


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_command_on_a_page_is_taken_as_it_stands_there(page: Path) -> None:
    found = commands_in(page.read_text(encoding="utf-8"))
    assert {" ".join(words): why for words, whole in found if (why := refused(words, whole))} == {}


@pytest.mark.parametrize("page", sorted((ROOT / "docs/ja").glob("*.md")), ids=lambda page: page.name)
def test_a_translated_page_has_the_commands_of_the_english_one(page: Path) -> None:
    original = ROOT / "docs" / page.name
    there, english = (commands_in(file.read_text(encoding="utf-8")) for file in (page, original))
    assert there
    assert sorted(there) == sorted(english)


def test_the_japanese_readme_has_commands_and_exit_codes_of_the_english_one() -> None:
    there, english = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.ja.md", "README.md"))
    named = {words[0] for words, _ in commands_in(there)}
    assert named >= {words[0] for words, _ in commands_in(english)} - {"skill", "mcp", "schema"}
    assert re.findall(r"^\| (\d) \|", there, re.MULTILINE) == ["0", "1", "2", "3"]
    (install,) = re.findall(r"^python3 .*$", there, re.MULTILINE)
    assert install.removesuffix(" --lang ja") in english


def test_a_command_that_there_is_not_is_seen() -> None:
    text = (
        "    gradscope check m.py --no-such\n\n```text\n$ gradscope fix\n```\n"
        "`gradscope fix` and `gradscope chekc m.py`\n"
    )
    assert [bool(refused(words, whole)) for words, whole in commands_in(text)] == [True, True, False, True]


def test_a_dead_link_and_a_missing_heading_are_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[a](gone.md) [b](page.md#x) [c](https://example.org/d)\n### known\n### never-raised\n")
    (tmp_path / "code.py").write_text('raise E(slug="known")\nraise E(slug="unknown")\n', encoding="utf-8")
    assert dead_links(page) == ["gone.md"]
    assert slugs(tmp_path) ^ headings(page) == {"unknown", "never-raised"}
