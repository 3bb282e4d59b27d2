"""The comparison of optimizers and the range test, as people read them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Skipped
from tests.report.canned import compared, searched
from tests.report.pages import shown


@pytest.mark.parametrize("name", ["terminal", "markdown"])
@pytest.mark.parametrize("make", [compared, searched])
def test_what_loading_had_to_say_is_told(make: object, name: str) -> None:
    note = "The batch size 32 is not used"
    report = replace(compared() if make is compared else searched(), skipped=(Skipped("note", note),))
    assert note in shown(report, name)
    assert note not in shown(report, "terminal", quiet=True)
