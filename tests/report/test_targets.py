"""Several targets at a terminal."""

from __future__ import annotations

import pytest

from gradscope.report.terminal.lines import width_of
from tests.report.pages import compare, shown
from tests.serialization.test_suite_json import several


@pytest.mark.parametrize("width", [80, 120])
def test_it_reads_as_the_golden_file_does(width: int) -> None:
    text = shown(several(), width=width)
    compare(f"targets_{width}.txt", text)
    assert max(map(width_of, text.splitlines())) <= width


def test_what_fails_is_told_and_what_could_not_be_judged() -> None:
    text = shown(several())
    assert "not judged: absent.py" in text
    assert "There is no file." in text
    assert text.rstrip().splitlines()[-3].startswith("1 of 4 targets fails, 1 not judged: ")


def test_quiet_leaves_the_table_out_and_verbose_shows_each_report() -> None:
    assert "gradient" not in shown(several(), quiet=True).splitlines()[0]
    assert shown(several(), verbose=True).count("✓ healthy") == 1


def test_what_a_report_leaves_out_is_not_silent() -> None:
    text = shown(several())
    assert text.splitlines()[-1] == "1 target has a part that was not judged: --verbose says which."
    assert "--verbose says" not in shown(several(), verbose=True)
