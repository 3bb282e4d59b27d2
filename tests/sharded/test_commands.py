"""Commands on programs over 8 devices: what they say is what they say of the same program on 1.

All run in one process with 8 CPU devices, since a process keeps the devices that it began with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("measured.py")
Reports = Callable[[str], tuple[Any, Any]]
USUAL = ("check:fsdp", "check:experts", "check:bad_fsdp")
OTHERS = (
    "check:pipeline",
    "check:tensor_parallel",
    "check:data_parallel",
    "check:accumulated",
    "check:partitioned",
    "check:bad_experts",
    *(f"{command}:fsdp" for command in ("verify", "monitor", "memory", "curvature", "optimizers")),
    *(f"{command}:experts" for command in ("verify", "monitor")),
    "monitor:pipeline",
    "check:explicit",
)
"""That one last, as its mesh stays set."""
BY_CLOCK = ("timing", "seconds", "step_s", "estimate", "peak_memory")


def measured(asked: tuple[str, ...], folder: Path) -> Reports:
    """At 1 device and at 8; run by the first worker that asks, and read by all."""
    path = folder / f"sharded-{len(asked)}.jsonl"
    try:
        path.with_suffix(".begun").touch(exist_ok=False)
    except FileExistsError:
        until = time.monotonic() + 600
        while not path.exists():
            assert time.monotonic() < until, "the worker that runs the commands does not end"
            time.sleep(0.2)
    else:
        _run(asked, path)
    found: dict[str, Any] = {}
    for line in path.read_text().splitlines():
        found |= json.loads(line)
    return lambda name: (found[f"{name}:1"], found[f"{name}:8"])


def _run(asked: tuple[str, ...], path: Path) -> None:
    names = [f"{each}:{devices}" for each in asked for devices in (1, 8)]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *names],
        env={**os.environ, **flags, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    written = path.with_suffix(".part")
    written.write_text(done.stdout)
    written.rename(path)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of all workers of this run."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="module")
def usual(shared: Path) -> Reports:
    return measured(USUAL, shared)


@pytest.fixture(scope="module")
def others(shared: Path) -> Reports:
    return measured(OTHERS, shared)


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    items = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    )
    if items is None:
        yield path, value
        return
    for key, inner in items:
        yield from flat(inner, f"{path}.{key}")


def different(one: Any, other: Any, rel: float = 1e-4) -> list[tuple[str, Any, Any]]:
    a, b = dict(flat(one)), dict(flat(other))
    found = []
    for key in sorted({*a, *b}):
        x, y = a.get(key, "absent"), b.get(key, "absent")
        if any(word in key for word in BY_CLOCK):
            continue
        if all(isinstance(each, float | int) and not isinstance(each, bool) for each in (x, y)):
            if abs(x - y) > rel * max(abs(x), abs(y)) + 1e-9:
                found.append((key, x, y))
        elif x != y:
            found.append((key, x, y))
    return found


def without(report: Any, *keys: str) -> Any:
    return {**report, "flow": {key: value for key, value in report["flow"].items() if key not in keys}}


@pytest.mark.parametrize("name", ["fsdp", "experts", "bad_fsdp"])
def test_check_says_the_same_of_8_devices(usual: Reports, name: str) -> None:
    one, eight = usual(f"check:{name}")
    # Over 1 device no rows can be dealt otherwise.
    assert different(without(one, "dealt"), without(eight, "dealt")) == []
    assert eight["skipped"] == []


def test_the_short_training_steps_on_8_devices(usual: Reports) -> None:
    for name in ("fsdp", "experts"):
        _, eight = usual(f"check:{name}")
        assert all(each["update_rms"] is not None for each in eight["flow"]["layers"])


def test_rows_of_experts_on_8_devices_may_be_dealt_otherwise(usual: Reports) -> None:
    one, eight = usual("check:experts")
    assert one["flow"]["dealt"] == []
    (dealt,) = eight["flow"]["dealt"]
    assert dealt["dealt"] == pytest.approx(dealt["loss"], rel=1e-5)


def test_a_nan_on_one_of_8_devices_is_found_where_it_is_born(usual: Reports) -> None:
    _, eight = usual("check:bad_fsdp")
    (finding,) = eight["findings"]
    assert finding["rule"] == "non-finite"
    assert "`log` at -1 gives NaN (1 of 64 elements)" in finding["message"]


@pytest.mark.slow
def test_gradients_of_a_pipeline_are_those_of_1_device(others: Reports) -> None:
    """Its activations are not: a stage computes at every tick, also before a micro-batch has come to it."""
    one, eight = others("check:pipeline")
    assert all(each["update_rms"] is not None for each in eight["flow"]["layers"])
    assert eight["findings"] == one["findings"] == []
    assert eight["flow"]["loss"] == pytest.approx(one["flow"]["loss"], rel=1e-5)
    for alone, spread in zip(one["flow"]["parameters"], eight["flow"]["parameters"], strict=True):
        assert different(alone, spread) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in OTHERS if n.startswith("check:") and "pipe" not in n])
def test_check_says_the_same_of_others(others: Reports, name: str) -> None:
    one, eight = others(name)
    assert different(without(one, "dealt"), without(eight, "dealt")) == []
    assert eight["skipped"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["monitor:fsdp", "monitor:experts"])
def test_monitor_says_the_same(others: Reports, name: str) -> None:
    one, eight = others(name)
    assert different(without(one, "dealt"), without(eight, "dealt")) == []
    assert len(eight["history"]["spans"]) == 8


@pytest.mark.slow
def test_monitor_of_a_pipeline_has_the_same_losses(others: Reports) -> None:
    one, eight = others("monitor:pipeline")
    assert different(one["history"]["losses"], eight["history"]["losses"]) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["verify:fsdp", "verify:experts"])
def test_verify_says_the_same(others: Reports, name: str) -> None:
    """Nothing is asked of the direction that is shown, in which the two are furthest apart by rounding."""
    one, eight = others(name)
    assert eight["verdict"] == one["verdict"] == "healthy"
    for alone, spread in zip(one["gradients"]["leaves"], eight["gradients"]["leaves"], strict=True):
        assert (alone["parameter"], alone["verdict"]) == (spread["parameter"], spread["verdict"])


@pytest.mark.slow
def test_curvature_says_the_same(others: Reports) -> None:
    one, eight = others("curvature:fsdp")
    largest = [each["curvature"]["largest"]["value"] for each in (one, eight)]
    assert largest[1] == pytest.approx(largest[0], rel=1e-3)


@pytest.mark.slow
def test_optimizers_are_compared_alike(others: Reports) -> None:
    one, eight = others("optimizers:fsdp")
    assert [each["name"] for each in eight["optimizers"]["contestants"]] == [
        each["name"] for each in one["optimizers"]["contestants"]
    ]
    best = [min(each["final_loss"] for each in of["optimizers"]["contestants"]) for of in (one, eight)]
    assert best[1] == pytest.approx(best[0], rel=1e-3)


@pytest.mark.slow
def test_memory_is_that_of_each_device(others: Reports) -> None:
    one, eight = others("memory:fsdp")
    parts = eight["memory"]["by_device"]
    assert parts["devices"] == 8
    # All but the four elements of the last bias are split.
    whole = one["memory"]["parameters"]
    assert parts["parameters"] == (whole - 16) // 8 + 16
    assert eight["memory"]["parameters"] == whole
    assert parts["data"] < one["memory"]["data"] / 7
    assert eight["memory"]["compiled"]["arguments"] < one["memory"]["compiled"]["arguments"] / 7
