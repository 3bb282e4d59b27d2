"""The snippets of docs/monitor.md that take a recording into a tracker, run as they stand there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gradscope.recording.file import Recording
from gradscope.records import Ending, ValidationRecord
from tests.pages.reading import blocks
from tests.recording.made import heading, step

PAGE = "docs/monitor.md"


def shown(line: str) -> str:
    (snippet,) = (block for block in blocks(PAGE, "python") if line in block)
    return snippet


def test_it_logs_every_number_at_its_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snippet = shown("import wandb")
    logged: list[tuple[int, dict[str, Any]]] = []
    wandb = SimpleNamespace(
        init=lambda project: None, log=lambda found, step: logged.append((step, dict(found)))
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.chdir(tmp_path)
    with Recording("run.jsonl", heading()) as recording:
        recording.add(step(0, loss=2.0, delta_rms=(0.5, 0.25)))
        recording.add_validation(ValidationRecord(1, 1.0))
        recording.add(step(1, loss=1.0, norm=3.0))
        recording.end(Ending.COMPLETE, 2)
    exec(compile(snippet, PAGE, "exec"), {})
    assert [number for number, _ in logged] == [0, 1]
    first, second = (found for _, found in logged)
    assert (first["loss"], first["delta_rms/encoder"], first["delta_rms/head"]) == (2.0, 0.5, 0.25)
    assert (second["gradient_norm"], second["update_rms/head"]) == (3.0, 1.0)


def test_tensorboard_gets_scalars_and_the_layers_as_histograms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snippet = shown("from tensorboardX")
    scalars: dict[tuple[str, int], float] = {}
    histograms: dict[tuple[str, int], list[float]] = {}

    class SummaryWriter:
        """What the real one has of it, by its documentation."""

        def __init__(self, logdir: str) -> None:
            assert logdir == "logs/mine"

        def __enter__(self) -> SummaryWriter:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            scalars[tag, global_step] = scalar_value

        def add_histogram(self, tag: str, values: Any, global_step: int) -> None:
            histograms[tag, global_step] = values.tolist()

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=SummaryWriter))
    monkeypatch.chdir(tmp_path)
    with Recording("run.jsonl", heading()) as recording:
        recording.add(step(0, loss=2.0, delta_rms=(0.1, 10.0)))
        recording.add(step(1, loss=1.0, norm=3.0))
        recording.end(Ending.COMPLETE, 2)
    exec(compile(snippet, PAGE, "exec"), {})
    assert (scalars["loss", 0], scalars["delta_rms/head", 0], scalars["gradient_norm", 1]) == (2.0, 10.0, 3.0)
    assert histograms["log10 of delta_rms over the layers", 0] == pytest.approx([-1.0, 1.0])
