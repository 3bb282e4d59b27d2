"""What people see in Japanese: aligned in cells, in the language that was chosen; machines see no change."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

from gradscope import language
from gradscope.cli import error_pages, languages
from gradscope.errors import GradscopeError
from gradscope.load.signature import unmatched
from gradscope.records import Excerpt, Finding, Severity, Source
from gradscope.report.terminal.lines import breakable, wrap
from tests.cli.conftest import Run, run as run
from tests.report.canned import CANNED, deep
from tests.report.pages import shown


def japanese(name: str, format: str = "terminal", width: int = 100) -> str:
    with language.speaking("ja"):
        return shown(CANNED[name](), format, width=width)


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", CANNED)
def test_no_line_is_wider_than_the_terminal(name: str, width: int) -> None:
    english = max(map(cell_len, shown(CANNED[name](), width=width).splitlines()))
    assert max(map(cell_len, japanese(name, width=width).splitlines())) <= max(width, english)


def test_columns_stand_below_their_heads_in_cells() -> None:
    lines = japanese("deep").splitlines()
    head = next(line for line in lines if line.strip().startswith("層"))
    row = next(line for line in lines if "blocks[1]" in line)
    ends = [cell_len(head[: found.end()]) for found in re.finditer(r"\S+", head)][1:]
    numbers = {cell_len(row[: found.end()]) for found in re.finditer(r"[\d.e,-]+(?= |$)", row)}
    assert set(ends) <= numbers


def test_a_line_of_japanese_ends_between_characters_and_no_mark_begins_one() -> None:
    text = (
        "勾配は層ごとに縮みます。「重み」が小さすぎます (しきい値 0.001)。`layers[0].weight` を見てください。"
    )
    for width in range(16, 40):
        lines = wrap(text, width)
        assert all(cell_len(line) <= width for line in lines)
        assert not any(line[0] in "、。」)ーっ" for line in lines)
        assert not any(line[-1] in "「(" for line in lines)
        assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert breakable("weight/path.name") == ["weight/path.name"]


def test_text_of_a_picture_is_as_wide_as_its_cells() -> None:
    root = ElementTree.fromstring(japanese("deep", "svg"))
    pieces = [each for each in root.iter("{http://www.w3.org/2000/svg}text") if "textLength" in each.attrib]
    wide = [each for each in pieces if cell_len(each.text or "") != len(each.text or "")]
    assert wide
    for each in [each for each in pieces if (each.text or "").strip("\n")]:
        assert float(each.attrib["textLength"]) == pytest.approx(12.2 * cell_len(each.text or ""), rel=1e-3)


@pytest.mark.parametrize("name", CANNED)
def test_no_axis_of_a_page_keeps_its_english_word(name: str) -> None:
    page = japanese(name, "html")
    assert ">step</text>" not in page
    assert "<span>step</span>" not in page


def test_a_page_says_its_language() -> None:
    assert '<html lang="ja">' in japanese("deep", "html")
    assert '<html lang="en">' in shown(deep(), "html")


@pytest.mark.parametrize("format", ["json", "sarif", "junit", "github", "gitlab", "agent"])
def test_formats_for_machines_are_english(format: str) -> None:
    assert japanese("broken", format) == shown(CANNED["broken"](), format)


def test_help_and_errors_are_in_the_language_that_is_asked_for(run: Run) -> None:
    assert "なぜ学習しないのか" in run("check", "--help", "--lang", "ja").out
    assert "オプション" in run("find-lr", "--help-all", "--lang=ja").out
    error = run("explain", "--lang", "ja").err
    assert error.startswith("エラー: ")
    assert "どちらか一方" in error
    assert "ルール" in run("rules", "--lang", "ja").out
    assert language.spoken() == "en"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "m.py", "--batches", "0"), "1 以上の値を指定してください"),
        (("check", "m.py", "--format", "foo"), "次のどれかを使ってください: terminal, json"),
        (("explain", "--symptom", "xyzzy"), "損失が NaN または無限大になる"),
        (("report", "absent.json"), "そのようなファイルやフォルダはありません"),
    ],
)
def test_errors_with_lists_numbers_and_words_of_the_system_have_no_english(
    arguments: tuple[str, ...], said: str, run: Run
) -> None:
    text = " ".join(run(*arguments, "--lang", "ja").err.split())
    assert said in text
    assert not re.search(r"\b(?:Use|Input|should|Known|No such|are)\b", text)


def test_the_forms_of_a_loss_are_told_in_the_language_and_code_stays(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = GradscopeError("No.", details="\n".join([*unmatched.FORMS.split("\n"), "  m.py:3 in loss_fn"]))
    monkeypatch.setattr(error_pages, "symptoms_like", partial(_raise, error))
    lines = run("explain", "--symptom", "nan", "--lang", "ja").err.splitlines()
    assert "    loss_fn(params, batch, key)" in lines
    assert "    m.py:3 in loss_fn" in lines
    assert "Forms that work" not in " ".join(lines)
    assert any("バッチは 2 要素のタプル" in line for line in lines)


def _raise(error: Exception, _: str) -> None:
    raise error


def test_the_option_is_stronger_than_the_terminal_and_that_than_the_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in language.VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def chosen(*arguments: str) -> str:
        languages.choose(arguments)
        found = language.spoken()
        languages.forget()
        return found

    assert chosen("rules") == "en"
    (tmp_path / "pyproject.toml").write_text('[tool.gradscope]\nlang = "ja"\n')
    assert chosen("rules") == "ja"
    assert chosen("rules", "--lang", "en") == "en"
    (tmp_path / "pyproject.toml").write_text('[tool.gradscope]\nlang = "en"\n')
    monkeypatch.setenv("LANG", "ja_JP.UTF-8")
    assert chosen("rules") == "ja"
    assert chosen("rules", "--lang=en") == "en"
    monkeypatch.setenv("LC_ALL", "C")
    assert chosen("rules") == "en"
    (tmp_path / "other.toml").write_text('lang = "ja"\n')
    assert chosen("check", "--config", "other.toml") == "ja"


@pytest.mark.parametrize("text", ["lang = 3", "lang = [", "[tool]\nx = 1", "\xff", 'lang = "fr"'])
def test_a_configuration_that_cannot_be_read_is_no_error_of_the_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    (tmp_path / "gradscope.toml").write_bytes(text.encode("latin-1"))
    languages.choose(["check"])
    assert language.spoken() == "en"


def test_a_language_that_there_is_not_is_an_error_that_names_all(run: Run) -> None:
    result = run("rules", "--lang", "fr")
    assert result.code == 2
    assert '"--lang fr" is not a valid value.' in result.err
    assert "en, ja" in result.err


def test_a_page_for_machines_is_english(run: Run) -> None:
    found = json.loads(run("explain", "dead-units", "--format", "json", "--lang", "ja").out)
    assert "## What it does" in found["rule"]["page"]


@pytest.mark.parametrize("name", ["layer", "output", "state"])
def test_a_layer_that_is_named_as_a_word_of_ours_keeps_its_name(name: str) -> None:
    from tests.report.canned import layer, report, vanishing

    one = layer(name, 0.02)
    made = report("model.py", (one,), (vanishing(one),))
    with language.speaking("ja"):
        for format in ("terminal", "markdown", "html"):
            assert name in html.unescape(shown(made, format))


def test_code_of_the_user_and_names_of_evidence_are_left_as_they_are() -> None:
    lines = ("for layer in params[:-1]:", "    x, t = batch", "return 3 steps")
    place = Source("m.py", 2, "x, t = batch")
    found = Finding(
        "unverifiable-gradient", Severity.NOTE, None, None, place, "", {"step": 1.0, "total": 2.0}, ""
    )
    report = replace(deep(), findings=(found,), excerpts=(Excerpt("m.py", 1, lines),))
    with language.speaking("ja"):
        text = html.unescape(re.sub("<[^>]*>", "|", shown(report, "html")))
    assert all(f"|{each}|" in text for each in (*lines, "step", "total"))


def test_all_options_are_told_whole(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    english = run("check", "--help-all").out
    monkeypatch.setenv("COLUMNS", "80")
    text = run("check", "--help-all", "--lang", "ja").out
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text
    assert "Usage:" not in text
    names = {name for name in re.findall(r"--[a-z-]+(?= )", english) if not name.startswith("--no-")}
    assert len(names) > 30
    assert {name for name in names if name not in text} == set()
