"""Every rule's docstring is a whole page, and the committed pages are what it generates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.rules import all_rules, sources
from gradscope.rules.pages import HEADINGS, MARK, faults, main, rendered

PAGES = Path(__file__).parents[2] / "docs" / "rules"


@pytest.mark.parametrize("rule", all_rules(), ids=lambda rule: rule.name)
def test_a_page_has_all_headings_limits_and_a_remedy(rule):
    assert faults(rule) == []
    assert rule.summary.endswith(".")
    assert len(rule.summary) <= 110


def test_names_and_pages_can_be_read_without_importing_a_rule():
    assert [(name, sources.page(name)) for name in sources.files()] == [
        (rule.name, rule.page) for rule in all_rules()
    ]


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_missing_heading_is_found(heading):
    rule = all_rules()[0]
    assert faults(replace(rule, page=rule.page.replace(heading, "## Else")))


def test_an_unexplained_limit_is_found():
    rule = all_rules()[0]
    assert faults(replace(rule, limits={**rule.limits, "secret": 1.0}))


def test_the_committed_pages_are_up_to_date():
    texts = {file.name: file.read_text(encoding="utf-8") for file in PAGES.glob("*.md")}
    committed = {name: text for name, text in texts.items() if text.startswith(MARK)}
    assert committed == rendered(), "run: python -m gradscope.rules.pages docs/rules"


def test_the_page_of_a_rule_that_is_gone_is_removed_and_a_guest_stays(tmp_path):
    main(tmp_path)
    (tmp_path / "non-finite.md").rename(tmp_path / "gone.md")
    (tmp_path / "guest.md").write_text("mine", encoding="utf-8")
    main(tmp_path)
    assert not (tmp_path / "gone.md").exists()
    assert (tmp_path / "non-finite.md").exists()
    assert (tmp_path / "guest.md").exists()
