"""The page for those who come from a textbook: its code runs, and its commands say what it claims."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.samples.expected import EXPECTED

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/textbook.md").read_text(encoding="utf-8")
CHECK = r"^    gradscope check sample_models/(\w+\.py)(?: --verify)? +# (\S+)$"
COMMANDS = re.findall(CHECK, PAGE, re.MULTILINE)


def test_the_code_of_the_page_runs_from_the_top_to_the_bottom() -> None:
    """Its assertions compare δ and gradients by hand with those of gradscope."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 4
    exec(compile("\n".join(blocks), "docs/textbook.md", "exec"), {"__name__": "page"})


@pytest.mark.parametrize(("file", "said"), COMMANDS)
def test_a_command_says_what_stands_beside_it(file: str, said: str) -> None:
    """As `tests/samples/` holds it to."""
    expected = EXPECTED[file]
    assert said == (expected.rule or expected.warning or expected.verdict)


def test_every_check_on_the_page_says_what_it_shows() -> None:
    assert len(COMMANDS) == PAGE.count("    gradscope check sample_models/")
