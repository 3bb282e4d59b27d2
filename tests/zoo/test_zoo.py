"""A few programs of the zoo keep their verdicts; `python -m benchmarks accuracy` judges all of them.

Only programs are here by which limits may be set, and of those only such as are judged right.
"""

from __future__ import annotations

import pytest

from gradscope.runs.check import check
from gradscope.serialization import report_json
from tests.zoo.judging import Judged, judge
from tests.zoo.programs import Program, held_out, programs
from tests.zoo.truth import behaves, mark, measured

KEPT = (
    "sick/deep_sigmoid_classifier",
    "sick/unit_normal_init",
    "sick/softmax_of_one_unit",
    "sick/column_against_row",
    "sick/prices_in_cents",
    "sick/ascent",
    "sick/second_layer_reads_the_input",
    "sick/nan_in_the_table",
    "healthy/imbalanced_classes",
    "healthy/zero_init_lora",
    "healthy/warmup_in_steps",
    "healthy/gan_of_two_players",
)
ZOO = {one.target.removeprefix("tests/zoo/").removesuffix(".py"): one for one in programs()}


def judged(program: Program) -> Judged:
    report = report_json.to_json(check(str(program.file)))
    return judge(program, {"report": report, "error": None})


@pytest.mark.parametrize("name", KEPT)
def test_program_of_the_zoo_keeps_its_verdict(name: str) -> None:
    one = judged(ZOO[name])
    assert not one.program.held_out
    said = [f"{f['severity']} {f['rule']} in {f['layer']}: {f['message']}" for f in one.findings]
    if one.program.fault is None:
        assert one.findings == (), said
    else:
        assert one.placed, said


def test_every_program_did_as_it_claims_when_it_was_trained() -> None:
    known = measured()
    trained = [one for one in ZOO.values() if known.get(one.target, {}).get("file") == mark(one.file)]
    assert {one.name for one in ZOO.values()} - {one.name for one in trained} == set()
    assert [one.target for one in trained if not behaves(one, known)] == []


def test_held_out_are_programs_and_their_twins_with_them() -> None:
    assert held_out() <= {one.name for one in ZOO.values()}
    assert [o.name for o in ZOO.values() if o.twin and (o.name in held_out()) != (o.twin in held_out())] == []
