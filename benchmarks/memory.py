"""The account of `gradscope memory` against XLA's own figure, on models as people write them.

`python -m benchmarks memory` makes the table of docs/memory.md. Batches are as large as their arrays count,
and not the 64 bytes to which XLA rounds each of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradscope
from benchmarks.models import ALL
from gradscope.load.target import load
from gradscope.records import Memory
from gradscope.records.options import LoadOptions
from gradscope.report.shared import units

ROOT = Path(__file__).parents[1]
FILES = {
    "sample: pre-norm transformer, 4 blocks": "sample_models/small_transformer.py",
    "sample: residual convnet": "sample_models/residual_convnet.py",
    "sample: gated RNN, 80 steps": "sample_models/gated_rnn.py",
    "Flax NNX: transformer": "tests/zoo/healthy/residual_transformer.py",
    "Flax NNX: ResNet": "tests/zoo/healthy/resnet_with_zero_gamma.py",
    "Flax Linen: GPT": "tests/zoo/healthy/fresh_gpt.py",
    "Flax Linen: ConvNeXt": "tests/zoo/healthy/convnext_with_layer_scale.py",
    "Equinox: RNN": "tests/zoo/healthy/hidden_state_carried.py",
    "Equinox: early exits": "tests/zoo/healthy/early_exits.py",
}


def rows() -> Iterator[dict[str, Any]]:
    for make in ALL:
        model = make()
        yield row(model.name, gradscope.memory(model.loss_fn, model.params, model.batch, checkpoints=False))
    for name, file in FILES.items():
        problem = load(str(ROOT / file), LoadOptions())
        yield row(name, gradscope.memory(problem, checkpoints=False))


def row(name: str, report: gradscope.Report) -> dict[str, Any]:
    found: Memory | None = report.memory
    assert found is not None
    assert found.compiled is not None
    assert found.difference is not None
    return {
        "model": name,
        "parameters": units.size(found.parameters),
        "jax.vjp keeps": units.size(found.residuals),
        "accounted peak": units.size(found.accounted),
        "XLA's peak": units.size(found.compiled.peak),
        "difference": f"{100 * found.difference:+.1f} %",
    }
