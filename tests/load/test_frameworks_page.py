"""The files shown on the page about frameworks are run as they stand there."""

import os
from pathlib import Path

import pytest

from tests.load.conftest import load
from tests.pages.reading import programs

os.environ.setdefault("KERAS_BACKEND", "jax")
PAGE = Path(__file__).parents[2] / "docs/frameworks.md"
SECTIONS = [(part.section, part.text) for part in programs(PAGE.read_text("utf-8"))]


@pytest.mark.parametrize(("framework", "text"), SECTIONS, ids=[section for section, _ in SECTIONS])
def test_the_smallest_file_of_a_framework_runs(framework, text, write):
    problem = load(write(text))
    value, _ = problem.loss(problem.params, next(problem.batches()), problem.key())
    assert float(value) > 0


def test_every_adapter_has_a_file_on_the_page():
    assert {section for section, _ in SECTIONS} == {"Flax NNX", "Equinox", "Flax Linen", "Haiku", "Keras"}
