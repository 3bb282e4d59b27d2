"""The JSON Schema describes what is written, all of it, and the published file is the current one."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from gradscope.serialization import suite_json
from gradscope.serialization.json_schema import dumps, schema
from tests.report.runs import RUNS

PUBLISHED = Path(__file__).parents[2] / "docs/report.schema.json"


def validator(strict: bool = False) -> jsonschema.Draft202012Validator:
    """`strict`: a key that the schema does not name is an error, too."""
    made = copy.deepcopy(schema())
    for definition in made["$defs"].values() if strict else ():
        if "properties" in definition:
            definition["additionalProperties"] = False
    return jsonschema.Draft202012Validator(made)


def written(name: str) -> Any:
    return json.loads(suite_json.dumps(RUNS[name]))


@pytest.mark.parametrize("name", RUNS)
def test_what_is_written_is_described_to_the_last_key(name: str) -> None:
    assert [error.message for error in validator(strict=True).iter_errors(written(name))] == []


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())


def test_the_published_schema_is_current() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == dumps(), (
        "run `gradscope schema > docs/report.schema.json`"
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("verdict"),
        lambda data: data.update(format=1),
        lambda data: data["flow"].update(loss="nan"),
        lambda data: data["flow"].update(loss=None),
        lambda data: data["flow"]["layers"][0].update(size=1.5),
        lambda data: data["flow"]["layers"][0].pop("gradient_to_weight"),
        lambda data: data["findings"][0].update(severity="fatal"),
        lambda data: data["flow"]["parameters"][0].update(shape="64"),
        lambda data: data["skipped"][0].pop("reason"),
    ],
)
def test_what_is_no_report_is_refused(change: Any) -> None:
    data = written("broken")
    change(data)
    assert not validator().is_valid(data)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", 1, 2.5])
def test_a_number_may_be_the_name_of_one(value: object) -> None:
    data = written("broken")
    data["flow"]["loss"] = value
    assert validator().is_valid(data)


def test_a_key_of_a_later_version_is_passed_over() -> None:
    assert validator().is_valid({**written("broken"), "of_tomorrow": 1})


def descriptions(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("description"), str):
            yield value["description"]
        for item in value.values():
            yield from descriptions(item)


def test_the_words_are_those_of_the_records() -> None:
    layer = schema()["$defs"]["Layer"]["properties"]
    assert layer["gradient_zero_share"]["description"].startswith("Share of the gradient's elements")
    assert layer["gradient_to_weight"]["description"].startswith(
        "rms of the gradient over rms of the weights"
    )
    texts = list(descriptions(schema()))
    assert len(texts) > 100
    assert all(texts)
