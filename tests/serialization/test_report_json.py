"""Reports as files: what is written comes back, and nothing else is taken for a report."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings, strategies as st

from gradscope.errors import GradscopeError
from gradscope.records import Report
from gradscope.serialization import codec, report_json
from tests.report.canned import CANNED, broken, healthy

# Beyond 1e150 the square in `Measurement.gradient_norm` leaves the range of a float.
FLOATS = st.floats(min_value=-1e150, max_value=1e150) | st.sampled_from([math.nan, math.inf, -math.inf])
NAMES = st.text(max_size=20)
WORDS = {"NaN", "Infinity", "-Infinity"}

EVIDENCE = st.dictionaries(NAMES, FLOATS | st.integers() | NAMES.filter(lambda text: text not in WORDS))
PLAIN = {float: FLOATS, int: st.integers(), str: NAMES, bool: st.booleans(), type(None): st.none()}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Any value that an annotation of the records allows."""
    arguments = get_args(kind)
    if kind in PLAIN:
        return PLAIN[kind]
    if get_origin(kind) is tuple:
        return st.lists(values(arguments[0]), max_size=2).map(tuple)
    if get_origin(kind) is Mapping:
        if arguments[1] in PLAIN:
            return st.dictionaries(NAMES, PLAIN[arguments[1]], max_size=2)
        return EVIDENCE
    if arguments:
        return st.one_of(*(values(argument) for argument in arguments))
    if issubclass(kind, Enum):
        return st.sampled_from(list(kind))
    return st.builds(kind, **{name: values(hint) for name, hint in get_type_hints(kind).items()})


@settings(max_examples=60, deadline=None)
@given(values(Report))
def test_a_report_comes_back_exactly_but_for_the_rounding(report: Report) -> None:
    back = report_json.loads(report_json.dumps(report))
    assert repr(back) == repr(report_json.rounded(report))
    assert repr(report_json.loads(report_json.dumps(back))) == repr(back)


@given(FLOATS)
def test_rounding_keeps_six_digits_and_is_done_once(value: float) -> None:
    once = codec.encode(value)
    if isinstance(once, float):
        assert codec.encode(once) == once
        assert math.isclose(once, value, rel_tol=5e-6, abs_tol=1e-310)
    else:
        assert once in WORDS


@pytest.mark.parametrize("name", CANNED)
def test_json_is_ascii_and_strict(name: str) -> None:
    text = report_json.dumps(CANNED[name]())
    assert text.isascii()
    assert "\x1b" not in text
    json.loads(text, parse_constant=lambda word: pytest.fail(f"bare {word}"))


def test_the_envelope_has_the_documented_keys() -> None:
    data = report_json.to_json(broken())
    assert list(data) == [
        "format",
        "verdict",
        "unexamined",
        "target",
        "tool",
        "flow",
        "training",
        "history",
        "gradients",
        "optimizers",
        "rates",
        "remedies",
        "memory",
        "curvature",
        "cost",
        "findings",
        "notes",
        "skipped",
        "timing",
        "seeds",
        "baseline",
        "minority_findings",
        "rules",
        "left_out",
        "excerpts",
    ]
    assert data["format"] == 2
    assert data["verdict"] == "sick"
    assert data["flow"]["loss"] == "NaN"
    assert data["flow"]["layers"][4]["gradient_max"] == "Infinity"
    assert data["findings"][0]["source"] == {
        "file": "model.py",
        "line": 31,
        "text": "return jax.lax.stop_gradient(x) @ w",
    }
    assert len(data["skipped"]) == len(data["flow"]["unseen"]) == 1


def test_every_key_of_the_envelope_stands_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "json.md").read_text(encoding="utf-8")
    data = report_json.to_json(broken())
    flow = data["flow"]
    parts = [data, flow, data["findings"][0], data["skipped"][0], data["tool"], data["timing"]]
    parts += [flow[key][0] for key in ("layers", "parameters", "recurrences")]
    parts += [flow[key][0] for key in ("nonfinite_inputs", "nonfinite_values")]
    parts += [flow["parameters"][3]["cuts"][0]]
    missing = {key for part in parts for key in part if f"`{key}`" not in page}
    assert not missing


def test_a_key_of_a_later_gradscope_is_passed_over() -> None:
    data = report_json.to_json(healthy())
    data["of_a_later_version"] = []
    data["flow"]["layers"][0]["colour"] = "blue"
    assert repr(report_json.from_json(data)) == repr(report_json.rounded(healthy()))


def test_a_key_with_a_default_may_be_missing() -> None:
    data = report_json.to_json(healthy())
    del data["notes"], data["flow"]["layers"][0]["uses"]
    assert report_json.from_json(data).flow.layers[0].uses == 1


def _without(*path: str | int) -> dict[str, Any]:
    data = report_json.to_json(healthy())
    part: Any = data
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    return data


def _with(value: Any, *path: str | int) -> dict[str, Any]:
    data = report_json.to_json(healthy())
    part: Any = data
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    return data


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "The file is empty."),
        (report_json.dumps(healthy())[:-20], "was cut off"),
        ("hello", "It is not JSON"),
        ("[1, 2]", '"format" number'),
        ('{"format": "2", "target": "m.py"}', '"format" number'),
        ('{"version": "2.1.0"}', '"format" number'),
        ("[" * 100_000, "no report has"),
        ('{"format": 2, "target": "m.py", "flow": NaN}', "bare NaN"),
        (json.dumps(_without("flow", "layers", 0, "size")), '"the report.flow.layers[0].size" is missing'),
        (json.dumps(_without("tool")), '"the report.tool" is missing'),
        (
            json.dumps(_with("3", "flow", "layers", 1, "size")),
            '"the report.flow.layers[1].size" is not of type int',
        ),
        (
            json.dumps(_with(True, "flow", "layers", 1, "size")),
            '"the report.flow.layers[1].size" is not of type int',
        ),
        (
            json.dumps(_with("much", "flow", "layers", 1, "weight_rms")),
            '"the report.flow.layers[1].weight_rms"',
        ),
        (json.dumps(_with("weird", "flow", "parameters", 0, "connection")), "no report has"),
        (json.dumps(_with(7, "skipped")), '"the report.skipped" is not a list'),
        (json.dumps(_with({}, "flow", "layers")), '"the report.flow.layers" is not a list'),
        (json.dumps(_with(10**400, "flow", "layers", 0, "weight_rms")), "no report has"),
    ],
)
def test_what_is_not_a_report_is_refused_with_the_place(text: str, why: str) -> None:
    with pytest.raises(GradscopeError) as caught:
        report_json.loads(text)
    assert why in caught.value.why
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("version", [0, 3, 99])
def test_another_format_is_refused_by_its_number(version: int) -> None:
    with pytest.raises(GradscopeError, match=f"format {version}, and this gradscope reads 1 and 2"):
        report_json.loads(json.dumps(_with(version, "format")))


def test_files_that_cannot_be_read_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for name, text in (("absent", "No such file"), ("", "Is a directory"), ("binary", "not text in UTF-8")):
        with pytest.raises(GradscopeError, match=text):
            report_json.load(str(tmp_path / name))


def test_a_saved_report_is_loaded_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    report_json.save(broken(), str(path))
    assert repr(report_json.load(str(path))) == repr(report_json.rounded(broken()))
    assert os.listdir(tmp_path) == ["run.json"]


def test_a_lone_surrogate_in_a_name_survives() -> None:
    report = replace(healthy(), target="\udc80.py")
    assert report_json.loads(report_json.dumps(report)).target == "\udc80.py"
