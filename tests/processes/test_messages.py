"""What a target's process is asked for reaches it whole: it reads no file that was read already."""

from __future__ import annotations

from pathlib import Path

from gradscope.gate import baseline_file
from gradscope.gate.baseline_file import Baseline
from gradscope.gate.baseline_status import entry_of
from gradscope.processes import child, messages
from gradscope.processes.messages import Asked
from gradscope.records import Report
from gradscope.records.options import CheckOptions, LoadOptions, Task
from tests.report.canned import deep

MODEL = """
import numpy as np
params, batch = {"w": np.ones(3, np.float32)}, np.ones(3, np.float32)
def loss_fn(params, batch):
    return ((params["w"] - batch) ** 2).sum()
"""


def test_a_task_and_its_baseline_arrive_as_they_were_sent() -> None:
    task = Task("m.py", "m.py", LoadOptions(seed=3), CheckOptions(baseline="b.json"), ("error",))
    baseline = Baseline("b.json", {"m.py": entry_of(deep())})
    for asked in (Asked(task), Asked(task, baseline)):
        assert messages.asked_in(messages.asking(asked)) == asked


def test_a_process_is_sent_what_concerns_its_target_alone() -> None:
    entry = entry_of(deep())
    assert Baseline("b.json", {"m": entry, "n": entry}).only("m") == Baseline("b.json", {"m": entry})
    assert Baseline("b.json", {"n": entry}).only("m") == Baseline("b.json", {})


def test_a_baseline_that_was_read_is_not_read_again(tmp_path: Path) -> None:
    file, known = tmp_path / "model.py", str(tmp_path / "base.json")
    file.write_text(MODEL)
    baseline_file.save(known, {})
    task = Task("model.py", str(file), checking=CheckOptions(baseline=known))
    asked = messages.asking(Asked(task, Baseline.read(known)))
    Path(known).unlink()
    answer = child.judged(messages.asked_in(asked), lambda stage: None)
    assert isinstance(answer, Report)
    assert answer.baseline is not None
    assert answer.baseline.stale == "it does not know this target"
