"""Reports that are kept: written, read again and compared, from Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import gradscope
from gradscope.errors import GradscopeError
from gradscope.records import Outcome, Suite
from gradscope.serialization import report_json, suite_json
from tests.report.canned import broken, deep, healthy


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    deep().save(path)
    assert gradscope.load_report(path).findings == report_json.rounded(deep()).findings
    assert suite_json.load(str(path), suite_json.Policy()).only is not None


def test_a_report_gives_json_a_dict_and_a_page() -> None:
    report = broken()
    assert json.loads(report.to_json())["verdict"] == "sick"
    assert report.to_dict() == json.loads(report.to_json())
    assert report.to_html().startswith("<!doctype html>")


def test_a_report_is_one_line_where_it_is_a_value() -> None:
    assert (
        repr(healthy())
        == f"<gradscope.Report model.py: healthy, {len(healthy().flow.layers)} layers, no findings>"
    )  # type: ignore[union-attr]
    assert "error" in repr(broken())
    assert "\n" not in repr(broken())


def test_two_reports_or_files_are_compared_and_printed(tmp_path: Path) -> None:
    healthy().save(tmp_path / "old.json")
    found = gradscope.diff(tmp_path / "old.json", broken())
    assert found.new_findings == broken().findings
    assert "model.py" in str(found)


def test_a_file_of_several_targets_is_no_report(tmp_path: Path) -> None:
    path = str(tmp_path / "run.json")
    suite_json.save(Suite((Outcome("a", healthy()), Outcome("b", healthy()))), path)
    with pytest.raises(GradscopeError, match="does not hold one report"):
        gradscope.load_report(path)


def test_only_public_names_are_offered_and_each_tells_of_itself() -> None:
    assert dir(gradscope) == sorted([*gradscope.__all__, "__version__"])
    for name in gradscope.__all__:
        found = getattr(gradscope, name)
        assert found.__doc__
        assert found.__name__ == name
