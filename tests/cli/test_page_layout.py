"""Pages on a terminal: filled lines, no blank between wide characters, no cell that is cut off."""

from __future__ import annotations

from itertools import pairwise

import pytest
from rich.cells import cell_len

from gradscope.cli.page_layout import joined, laid_out
from gradscope.language import pages, speaking
from gradscope.report.terminal.lines import breakable
from gradscope.rules import sources


def lines_of(text: str, width: int) -> list[str]:
    return ["".join(part for part, _ in line) for line in laid_out(text, width, color=False)]


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (["one", "two"], "one two"),
        (["勾配が層ごとに", "縮みます。"], "勾配が層ごとに縮みます。"),
        (["割合は", "`share = 0.5` です。", "次の文"], "割合は `share = 0.5` です。次の文"),
        (["(ReLU では", "0 以下)"], "(ReLU では 0 以下)"),
        (["最後は 3。", "Adam は"], "最後は 3。Adam は"),
    ],
)
def test_a_paragraph_is_one_line_with_a_blank_only_where_the_script_has_one(
    lines: list[str], text: str
) -> None:
    assert joined(lines) == text


@pytest.mark.parametrize("language", ["en", "ja"])
def test_lines_of_every_page_are_filled_to_the_width(language: str) -> None:
    with speaking(language):
        texts = [(language == "ja" and pages.of_rule(name)) or sources.page(name) for name in sources.files()]
    for line, following in [pair for text in texts for pair in pairwise(lines_of(f"{text}\n\nend", 80))]:
        if not line or not following or line.startswith("  ") or following.startswith("- "):
            continue  # the end of a paragraph or an entry, code
        assert cell_len(line) <= 80
        # What begins the next line had no room in this one: a word, or a wide character with its marks.
        piece = breakable(following.split()[0])[0]
        assert cell_len(line) + cell_len(piece) > 78, (line, following)


def test_marks_of_emphasis_and_links_are_gone_and_code_keeps_its_own() -> None:
    (line,) = lines_of("層の **出力** は [page](x.md) の `2 * x * y` と *z* です", 80)
    assert line == "層の出力は page の `2 * x * y` と z です"


def test_no_cell_of_a_table_is_cut_off() -> None:
    long = "what moves it " * 12
    text = "\n".join(lines_of(f"| column | what |\n|---|---|\n| rms | {long}|\n| δ | |", 40))
    assert " ".join(text.split()) == f"rms what: {long.strip()} δ"


def test_code_keeps_its_lines_also_between_fences() -> None:
    assert lines_of("a\n```\nx = 1\n  y\n```\n\n    z  = 2", 80) == [
        "a",
        "",
        "  x = 1",
        "    y",
        "",
        "  z  = 2",
    ]
