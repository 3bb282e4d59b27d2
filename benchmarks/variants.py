"""Does a verdict stay where nothing changes that should move it? Programs of the zoo with lines at their end.

All have an `init(key)`, an optimizer that does not care how large a loss is, and their widths in `SIZES`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.zoo.programs import ROOT

Said = dict[str, dict[str, Any]]
VARIED = (
    "sick/deep_sigmoid_classifier", "sick/softmax_of_one_unit", "sick/ascent", "sick/prices_in_cents",
    "sick/rate_of_a_millionth", "healthy/deep_relu_classifier", "healthy/imbalanced_classes",
    "healthy/large_targets_that_train", "healthy/quantile_regression", "healthy/warmup_in_steps",
)  # fmt: skip

SCALED = """

import functools

_loss_fn = loss_fn


@functools.wraps(_loss_fn)
def loss_fn(*args, **kwargs):
    return {factor} * _loss_fn(*args, **kwargs)
"""
WIDER = """

SIZES = [SIZES[0], *(2 * width for width in SIZES[1:-1]), SIZES[-1]]
"""
RESEEDED = """

_init = init


def init(key):
    return _init(jax.random.fold_in(key, {seed}))
"""
VARIANTS = {
    "as it is": "",
    "other weights": RESEEDED.format(seed=1),
    "yet others": RESEEDED.format(seed=2),
    "loss × 1e4": SCALED.format(factor=1e4),
    "loss × 1e-4": SCALED.format(factor=1e-4),
    "twice as wide": WIDER,
}


def rows(check: Callable[[list[str]], Said]) -> Iterator[dict[str, str]]:
    """Errors and warnings of each program in each form; `check` is from targets to what was said of each."""
    with tempfile.TemporaryDirectory() as folder:
        files = {
            (name, what): _written(Path(folder), name, lines)
            for name in VARIED
            for what, lines in VARIANTS.items()
        }
        said = check(sorted(files.values()))
        for name in VARIED:
            yield {"program": name, **{what: _verdict(said[files[name, what]]) for what in VARIANTS}}


def _written(folder: Path, name: str, lines: str) -> str:
    file = folder / f"{name.replace('/', '_')}_{len(list(folder.iterdir())):03}.py"
    text = (ROOT / f"tests/zoo/{name}.py").read_text(encoding="utf-8")
    file.write_text(text + lines, encoding="utf-8")
    return str(file)


def _verdict(said: dict[str, Any]) -> str:
    if not said["report"]:
        return "no report"
    findings = said["report"]["findings"]
    rules = dict.fromkeys(f["rule"] for f in findings if f["severity"] in ("error", "warning"))
    return ", ".join(rules) or "–"
