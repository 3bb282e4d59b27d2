"""A few programs of the zoo keep their verdicts; `python -m benchmarks accuracy` judges all of them.

Only programs are here by which limits may be set, and of those only such as are judged right.
"""

from __future__ import annotations

import pytest

from gradscope.runs.check import check
from gradscope.serialization import report_json
from tests.zoo.judging import Judged, judge
from tests.zoo.programs import Program, programs

KEPT = ()
ZOO = {one.target.removeprefix("tests/zoo/").removesuffix(".py"): one for one in programs()}


def judged(program: Program) -> Judged:
    report = report_json.to_json(check(str(program.file)))
    return judge(program, {"report": report, "error": None})


@pytest.mark.parametrize("name", KEPT)
def test_program_of_the_zoo_keeps_its_verdict(name: str) -> None:
    one = judged(ZOO[name])
    said = [f"{f['severity']} {f['rule']} in {f['layer']}: {f['message']}" for f in one.findings]
    if one.program.fault is None:
        assert one.findings == (), said
    else:
        assert one.placed, said
