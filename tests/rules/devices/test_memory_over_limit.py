"""memory-over-limit: above the limit alone, and the remedy is what was seen to be enough."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gradscope.records import (
    Checkpointing,
    CheckpointTrial,
    CompiledMemory,
    Finding,
    Memory,
    MemoryLimit,
    Severity,
)
from gradscope.rules import Parts, judge

MIB = 2**20
STEP = Memory(
    parameters=MIB,
    data=MIB,
    gradients=MIB,
    optimizer_state=2 * MIB,
    kept=(),
    kept_arguments=0,
    working=7 * MIB,
    batch_size=8,
    compiled=CompiledMemory(2 * MIB, MIB, 7 * MIB, 0),
)
"""12 MiB at its peak."""


def found(memory: Memory) -> list[Finding]:
    return [each for each in judge(Parts(memory=memory))[0] if each.rule == "memory-over-limit"]


def test_above_the_limit_it_is_an_error() -> None:
    (finding,) = found(replace(STEP, limit=MemoryLimit(12 * MIB - 1)))
    assert finding.severity is Severity.ERROR
    assert "with 8 rows takes 12 MiB at its peak, and the limit is 12 MiB" in finding.message


def test_at_the_limit_and_without_one_it_is_silent() -> None:
    assert found(replace(STEP, limit=MemoryLimit(12 * MIB))) == []
    assert found(STEP) == []


def tried(**changes: Any) -> Checkpointing:
    trial = CheckpointTrial("nothing_saveable", MIB, 2.0, CompiledMemory(2 * MIB, MIB, MIB, 0))
    trials = (replace(trial, **changes),)
    return Checkpointing("f", None, 3, False, 1.0, None, trials, "nothing_saveable", "f = jax.checkpoint(f)")


def test_a_checkpoint_that_is_enough_is_the_remedy() -> None:
    (finding,) = found(replace(STEP, limit=MemoryLimit(8 * MIB), checkpointing=tried()))
    assert finding.remedy == "`f = jax.checkpoint(f)` takes the peak to 6 MiB: it fits."
    (finding,) = found(replace(STEP, limit=MemoryLimit(5 * MIB), checkpointing=tried()))
    assert finding.remedy == "`f = jax.checkpoint(f)` takes the peak to 6 MiB."


def test_one_that_the_compiler_undid_is_none() -> None:
    (finding,) = found(replace(STEP, limit=MemoryLimit(8 * MIB, rows=3), checkpointing=tried(undone=True)))
    assert finding.remedy == "A batch of 3 rows fits."
