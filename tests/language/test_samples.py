"""Samples checked and shown in Japanese: no sentence of English is left, in any format for people."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gradscope import language
from gradscope.records import Report, Suite
from gradscope.runs.check import check
from gradscope.serialization import report_json
from tests.report.pages import shown

SAMPLES = Path(__file__).parents[2] / "sample_models"
ENGLISH = re.compile(r"(?:(?<![\w.`/=-])[A-Za-z][a-z']+(?:[,;:]? |, )){3}[A-Za-z][a-z']+(?![\w`/=(-])")
"""Four words in a row."""


@pytest.fixture(scope="module", params=["deep_sigmoid_mlp", "dead_relu_mlp", "vanilla_rnn"])
def sample(request: pytest.FixtureRequest) -> Report:
    return report_json.rounded(check(str(SAMPLES / f"{request.param}.py")))


def bare(text: str, report: Report) -> str:
    """Without code, lines of the user, and the pages of rules, which cite English titles."""
    text = re.sub(r'<section[^>]*class="rules".*?</section>', " ", text, flags=re.DOTALL)
    text = re.sub(r"<(style|code|pre)\b.*?</\1>", " 0 ", text, flags=re.DOTALL)
    text = html.unescape(re.sub(r"<[^>]*>", " | ", text))
    text = re.sub(r"`[^`]*`", " 0 ", text.replace("\\`", "`"))
    sources = {finding.source.text for finding in report.findings if finding.source is not None}
    return "\n".join(line for line in text.splitlines() if not any(source in line for source in sources))


@pytest.mark.parametrize("format", ["terminal", "markdown", "html"])
def test_no_sentence_of_english_is_left(sample: Report, format: str) -> None:
    with language.speaking("ja"):
        text = shown(Suite.of(sample), format, width=2000)
    assert ENGLISH.findall(bare(text, sample)) == []


def test_the_japanese_readme_shows_what_is_printed(sample: Report) -> None:
    if not sample.target.endswith("deep_sigmoid_mlp.py"):
        return
    text = (SAMPLES.parent / "README.ja.md").read_text(encoding="utf-8")
    quoted = next(part for part in text.split("```")[1::2] if part.startswith("\n✗"))
    with language.speaking("ja"):
        there = replace(sample, target="sample_models/deep_sigmoid_mlp.py")
        lines = iter(shown(Suite.of(there), width=80).splitlines())
    for line in quoted.strip("\n").split("\n"):
        # In this order; what is left out is marked.
        assert line == "..." or line in lines


def test_it_would_be_found(sample: Report) -> None:
    assert ENGLISH.search(bare(shown(Suite.of(sample), width=2000), sample))
