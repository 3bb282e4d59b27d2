"""Runs for the formats that machines read: canned reports, several targets, a baseline, hostile names."""

from __future__ import annotations

from dataclasses import replace

from gradscope.records import (
    BaselineResult,
    BaselineStatus,
    FailureKind,
    KnownFinding,
    Outcome,
    Policy,
    Report,
    Source,
    Suite,
    TargetError,
    Votes,
)
from gradscope.serialization.report_json import rounded
from tests.report.canned import CANNED, HOSTILE, deep, layer, report, vanishing

STANDINGS = (BaselineStatus.NEW, BaselineStatus.UNCHANGED, BaselineStatus.WORSE)
AGAINST = BaselineResult(
    "base[1].json",
    fixed=(
        KnownFinding("zero-gradient", HOSTILE, None, "x = w", {}),
        KnownFinding("broadcast-loss", None, None, "", {}),
    ),
    stale="Two layers of it are gone: layers[8], layers[9].",
)


def beside_baseline() -> Report:
    """One finding of each standing."""
    base = deep(6)
    layers = base.flow.layers[:3]
    findings = tuple(
        replace(vanishing(of), baseline_status=standing, votes=Votes(4, 5))
        for of, standing in zip(layers, STANDINGS, strict=True)
    )
    return replace(base, findings=findings, baseline=AGAINST, seeds=(0, 1, 2, 3, 4))


def crowd(findings: int = 200, layers: int = 2000) -> Report:
    """The findings share one line of source, as those of a stacked model do."""
    all_layers = tuple(layer(f"encoder.blocks[{i}].mlp", 0.02) for i in range(layers))
    return report("big.py", all_layers, tuple(vanishing(of) for of in all_layers[:findings]))


def several() -> Suite:
    """Every canned report, one with a baseline, and three that could not be judged."""
    outcomes = [Outcome(make().target, rounded(make())) for make in CANNED.values()]
    outcomes.append(Outcome("tests/known.py", replace(beside_baseline(), target="tests/known.py")))
    details = "Traceback:\n  model.py:3 ::error::\x1b[31m"
    missing = [
        (HOSTILE, TargetError(FailureKind.INPUT, f"`{HOSTILE}` raised.", "It says so.", "Mend it.", details)),
        ("pkg.models:tiny", TargetError(FailureKind.TIMEOUT, "It took longer than 60 s.")),
        ("../outside/model.py", TargetError(FailureKind.KILLED, "Killed by signal 9.")),
    ]
    outcomes += [Outcome(target, error=trouble) for target, trouble in missing]
    return Suite(tuple(outcomes))


def moved(of: Report, lines: int = 40) -> Report:
    """The same code further down in its file."""

    def down(source: Source | None) -> Source | None:
        return source and replace(source, line=source.line + lines)

    return replace(of, findings=tuple(replace(f, source=down(f.source)) for f in of.findings))


RUNS: dict[str, Suite] = {
    **{name: Suite.of(rounded(make())) for name, make in CANNED.items()},
    "baseline": Suite.of(beside_baseline(), Policy(("error",))),
    "several": several(),
    "nothing": Suite(()),
}
