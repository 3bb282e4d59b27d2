"""The pages that only the site of the documentation has; CI builds it and takes a dead link for an error."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import gradscope

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs/site_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages_of(nav: object) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    inner = nav.values() if isinstance(nav, dict) else nav
    return [page for each in inner for page in pages_of(each)]  # type: ignore[union-attr]


def test_the_reference_has_every_public_name(site: ModuleType) -> None:
    assert [line for line in site.reference().splitlines() if line.startswith(":::")] == [
        f"::: gradscope.{name}" for name in gradscope.__all__
    ]


def test_the_index_of_decisions_has_each(site: ModuleType) -> None:
    text = site.decisions()
    for file in (ROOT / "docs/decisions").glob("0*.md"):
        assert f"]({file.name})" in text


def test_every_page_of_the_menu_is_there(site: ModuleType, tmp_path: Path) -> None:
    site.assemble(tmp_path)
    menu = pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"])
    assert [page for page in menu if not (tmp_path / page).is_file()] == []
    assert len(menu) == len(set(menu))
