"""Does one commit get one exit code? Files near and far from their limits, checked again and again.

`python -m benchmarks stability` takes about five minutes; most of it is 50 processes for one file.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.processes import gradscope

ROOT = Path(__file__).parents[1]
LIMIT = ROOT / "benchmarks/files/at_the_limit.py"
TIMES = 50
UNSEEDED = ("np.random.default_rng(0)", "np.random")
ENTROPY = ("np.random.default_rng(0)", "np.random.default_rng()")


def rows() -> list[dict[str, Any]]:
    from gradscope.processes import prepare

    prepare.prepare_process()
    found = []
    for name in ("deep_sigmoid_mlp", "deep_relu_mlp", "exploding_rnn"):
        found.append(in_process(f"{name}.py", ROOT / f"sample_models/{name}.py"))
    with tempfile.TemporaryDirectory() as folder:
        unseeded, entropy = (variant(Path(folder), *edit) for edit in (UNSEEDED, ENTROPY))
        for seeds in (1, 5):
            found.append(in_process("at the limit", LIMIT, seeds=seeds))
            found.append(in_process("at the limit, `np.random` without a seed", unseeded, seeds=seeds))
        # Seed 2 alone is nearest to the limit.
        for batches in (1, 8):
            for seeds in (1, 5):
                options = {"seeds": seeds, "batches": batches}
                found.append(
                    in_process("at the limit, `default_rng()`", entropy, seed=2 * (seeds == 1), **options)
                )
        found.append(against_baseline(entropy, Path(folder) / "base.json", seeds=5, batches=8))
        found.append(in_processes("at the limit, 50 processes", LIMIT, "--seeds", "5"))
    return found


def variant(folder: Path, old: str, new: str) -> Path:
    file = folder / f"limit_{len(list(folder.iterdir()))}.py"
    file.write_text(LIMIT.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    return file


def in_process(name: str, file: Path, *, seed: int = 0, times: int = TIMES, **options: Any) -> dict[str, Any]:
    from gradscope.gate import policy
    from gradscope.records import Suite
    from gradscope.records.options import CheckOptions, LoadOptions
    from gradscope.runs.check import check

    votes: Counter[str] = Counter()

    def once() -> int:
        report = check(str(file), LoadOptions(seed=seed), CheckOptions(**options))
        votes.update(f"{f.votes.found} of {f.votes.of}" for f in (*report.findings, *report.near) if f.votes)
        return policy.exit_code(Suite.of(report))

    return row(name, once, times, options) | {"votes": told(votes)}


def against_baseline(file: Path, baseline_file: Path, **options: Any) -> dict[str, Any]:
    """The baseline of one run, which knows what was near its limit; then the other runs."""
    from gradscope.gate import baseline_file
    from gradscope.gate.baseline_status import entry_of
    from gradscope.records.options import CheckOptions
    from gradscope.runs.check import check

    report = check(str(file), None, CheckOptions(**options))
    known = str(baseline_file)
    baseline_file.save(known, {baseline_file.key_of(str(file), known): entry_of(report)})
    return in_process("the same with a baseline", file, baseline=known, **options)


def in_processes(name: str, file: Path, *arguments: str) -> dict[str, Any]:
    command = gradscope("check", str(file), "--format", "json", "--no-timing", *arguments)
    outputs: Counter[bytes] = Counter()

    def once() -> int:
        done = subprocess.run(command, capture_output=True, env=os.environ, check=False)
        outputs[done.stdout] += 1
        return done.returncode

    found = row(name, once, TIMES, {"seeds": 5 if "--seeds" in arguments else 1})
    return found | {"different_outputs": len(outputs)}


def row(name: str, once: Callable[[], int], times: int, options: dict[str, Any]) -> dict[str, Any]:
    codes = Counter(str(once()) for _ in range(times))
    print(name, options, dict(codes), file=sys.stderr, flush=True)
    return {
        "what": name,
        "seeds": options.get("seeds", 1),
        "batches": options.get("batches", 1),
        "exit_codes": told(codes),
    }


def told(counts: Counter[str]) -> str:
    return ", ".join(f"{value}: {count}" for value, count in sorted(counts.items()))
