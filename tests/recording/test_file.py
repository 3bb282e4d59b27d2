"""The file of a recording: append-only, readable to its last whole line."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from gradscope.errors import GradscopeError
from gradscope.recording.file import Reader, Recording, is_recording, read
from gradscope.records import Ending, LossRecord, ValidationRecord
from tests.recording.made import heading, step


def written(path: Path, steps: int = 5) -> Path:
    with Recording(str(path), heading(asked=steps)) as recording:
        for number in range(steps):
            recording.add(step(number, loss=1.0 / (number + 1)))
        recording.add_validation(ValidationRecord(steps, 0.5))
        recording.end(Ending.COMPLETE, steps, batches_per_pass=3)
    return path


def test_what_is_recorded_is_read(tmp_path: Path) -> None:
    about, found = read(str(written(tmp_path / "run.jsonl")))
    assert about == heading(asked=5)
    assert (found.steps, found.ending, found.batches_per_pass) == (5, Ending.COMPLETE, 3)
    assert found.losses.low == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4, 1 / 5], rel=1e-5)
    assert found.validation == (ValidationRecord(5, 0.5),)


def test_numbers_that_are_not_finite_survive(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Recording(str(path), heading()) as recording:
        recording.add(step(0, loss=math.nan, norm=math.inf, delta_rms=(math.inf, math.nan)))
    _, found = read(str(path))
    assert (found.nonfinite_loss_at, found.nonfinite_gradient_at) == (0, 0)
    assert found.layers[0].delta_rms is not None
    assert found.layers[1].delta_rms is None


def test_it_is_read_to_its_last_whole_line_wherever_it_is_cut(tmp_path: Path) -> None:
    data = written(tmp_path / "run.jsonl", steps=3).read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == ord("\n")]
    for cut in range(ends[1], len(data)):
        path = tmp_path / "cut.jsonl"
        path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        _, found = read(str(path))
        assert found.steps == min(whole - 1, 3)
        assert found.record_cut_off == (cut not in ends)
        assert found.ending is Ending.RUNNING


def test_reading_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    recording = Recording(str(path), heading())
    reader = Reader(str(path))
    assert reader.more()
    assert reader.history().steps == 0
    recording.add(step(0))
    with path.open("ab") as out:
        out.write(b'{"step":1,')
    assert reader.more()
    assert reader.history().steps == 1
    assert reader.cut_off
    assert not reader.more()
    recording.close()


def test_a_recording_is_not_written_over(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl")
    before = path.read_bytes()
    with pytest.raises(GradscopeError, match="exists already"):
        Recording(str(path), heading())
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "It is empty"),
        ("no json\n", "Line 1 cannot be read"),
        ("[1]\n", "it is no object"),
        ('{"a": 1}\n', "it has no"),
        ('{"gradscope-recording": 99}\n', "has format 99"),
        ("x" * 100, "first line is not whole"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(text)
    with pytest.raises(GradscopeError, match=said):
        read(str(path))
    with pytest.raises(GradscopeError):
        read(str(tmp_path / "missing.jsonl"))


def test_a_record_of_another_model_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "run.jsonl")
    lines = path.read_text().splitlines()
    one = json.loads(lines[2])
    one["values"] = [row[:1] for row in one["values"]]
    lines[2] = json.dumps(one)
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(GradscopeError, match=r"Line 3 .* not those of the layers"):
        read(str(path))


def test_losses_after_the_last_measured_step_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with Recording(str(path), heading(every=10)) as recording:
        recording.add(step(0))
        recording.add(step(10))
        recording.add_losses(LossRecord(14, (1.0, 1.0, math.nan, math.nan)))
        recording.end(Ending.NOT_FINITE, 15)
    _, found = read(str(path))
    assert (found.steps, found.last_measured) == (15, 10)
    assert (found.nonfinite_loss_at, found.nonfinite_since) == (13, 13)


def test_steps_out_of_order_and_unknown_quantities_are_refused(tmp_path: Path) -> None:
    lines = written(tmp_path / "run.jsonl").read_text().splitlines()
    path = tmp_path / "other.jsonl"
    path.write_text("\n".join([lines[0], lines[3], lines[2]]) + "\n")
    with pytest.raises(GradscopeError, match="not after the one before"):
        read(str(path))
    path.write_text(lines[0].replace("delta_rms", "foo") + "\n" + lines[1] + "\n")
    with pytest.raises(GradscopeError, match="quantities that are not known"):
        read(str(path))


def test_a_heading_without_a_step_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    Recording(str(path), heading()).close()
    with pytest.raises(GradscopeError, match="holds no step"):
        read(str(path))
    assert is_recording(str(path))


KILLS = """
import os, random, signal, sys, time
from gradscope.recording.file import Reader, Recording, read
from tests.recording.made import heading, step

layers = tuple(f"layers[{place}]" for place in range(int(sys.argv[2])))
draw = random.Random(int(sys.argv[3]))
for kill in range(50):
    path = f"{sys.argv[1]}/{kill}.jsonl"
    child = os.fork()
    if child == 0:
        recording = Recording(path, heading(layers))
        for number in range(10**9):
            recording.add(step(number, loss=number / 8, delta_rms=(number / 4,) * len(layers)))
    while not os.path.exists(path) or open(path, "rb").read().count(b"\\n") < 2:
        time.sleep(0.0005)
    follower = Reader(path)
    try:
        follower.more()
        time.sleep(draw.uniform(0, 0.02))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    data = open(path, "rb").read()
    whole = data.count(b"\\n") - 1
    follower.more()
    for found in (read(path)[1], follower.history()):
        last = found.layers[-1].delta_rms.high[-1], found.last_loss
        assert (found.steps, *last) == (whole, (whole - 1) / 4, (whole - 1) / 8), kill
        assert found.record_cut_off == (not data.endswith(b"\\n")), kill
        assert found.ending.value == "running", kill
    os.remove(path)
"""


@pytest.mark.few(1)
@pytest.mark.parametrize(("layers", "seed"), [(2, 0), (2000, 1), (2, 2), (2000, 3)])
def test_killed_at_fifty_random_moments_it_reads_to_its_last_whole_record(
    layers: int, seed: int, tmp_path: Path
) -> None:
    """By a reader that follows it, too. With 2,000 layers a line is long enough to be cut in two."""
    command = [sys.executable, "-c", KILLS, str(tmp_path), str(layers), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
