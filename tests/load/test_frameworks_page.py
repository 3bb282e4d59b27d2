"""The files shown on the page about frameworks are run as they stand there."""

import os
import re
from pathlib import Path

import pytest

from tests.load.conftest import load

os.environ.setdefault("KERAS_BACKEND", "jax")
PAGE = Path(__file__).parents[2] / "docs/frameworks.md"
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n+```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S))


@pytest.mark.parametrize("framework", SECTIONS)
def test_the_smallest_file_of_a_framework_runs(framework, write):
    problem = load(write(SECTIONS[framework]))
    value, _ = problem.loss(problem.params, next(problem.batches()), problem.key())
    assert float(value) > 0


def test_every_adapter_has_a_file_on_the_page():
    assert set(SECTIONS) == {"Flax NNX", "Equinox", "Flax Linen", "Haiku", "Keras"}
