"""The page for those who come from a textbook: its commands say what it claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.samples.expected import EXPECTED

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/textbook.md").read_text(encoding="utf-8")
CHECK = r"^    gradscope check sample_models/(\w+\.py)(?: --verify)? +# (\S+)$"
COMMANDS = re.findall(CHECK, PAGE, re.MULTILINE)


@pytest.mark.parametrize(("file", "said"), COMMANDS)
def test_a_command_says_what_stands_beside_it(file: str, said: str) -> None:
    """As `tests/samples/` holds it to."""
    expected = EXPECTED[file]
    assert said == (expected.rule or expected.warning or expected.verdict)


def test_every_check_on_the_page_says_what_it_shows() -> None:
    assert len(COMMANDS) == PAGE.count("    gradscope check sample_models/")
