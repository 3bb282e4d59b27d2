"""The agreement of replicas, as people read it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import GradientNoise, ReplicaGradients, ReplicaLayer, Report
from gradscope.report.shared.replicas import replica_sentences
from gradscope.serialization import report_json
from tests.report.canned import HOSTILE, healthy
from tests.report.pages import shown

FOUND = ReplicaGradients(
    axes=("data",),
    replicas=8,
    rows=4,
    batches=1,
    cosine=0.71,
    layers=(ReplicaLayer("up", 0.9, 0.4), ReplicaLayer(HOSTILE, None, None)),
    apart=1e-7,
    averaged=True,
    noise=GradientNoise(8, 4, 0.2),
)


def looked(found: ReplicaGradients = FOUND) -> Report:
    report = healthy()
    assert report.flow is not None
    return replace(report, flow=replace(report.flow, replicas=found))


def told(**changes: object) -> str:
    return " ".join(replica_sentences(replace(FOUND, **changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["terminal", "markdown", "html"])
def test_each_layer_has_a_row_and_the_noise_a_sentence(name: str) -> None:
    text = " ".join(shown(looked(), name, width=120).split())
    assert "0.900" in text
    assert "0.400" in text
    assert "of about 16 rows, the gradient noise scale; this one has 32." in text
    assert HOSTILE not in text


def test_what_was_measured_is_told() -> None:
    text = told()
    assert "Of 8 replicas with 4 rows each (over data), the cosine of the gradient of one" in text
    assert "is 0.710 on average." in text
    assert "on average, on 3 batches." in told(batches=3)
    assert "averaged over the places of the batch" in told(drawn=True)
    assert "(over" not in told(axes=())


def test_replicas_that_do_not_average_have_no_noise() -> None:
    text = told(averaged=False, noise=None, apart=0.12)
    assert "Their mean is not the gradient of the whole batch: it is off by 12%" in text
    assert "equal in a batch" not in text


def test_no_common_part_is_told() -> None:
    assert told(noise=GradientNoise(8, 4, -0.1)).endswith("No common part could be measured.")


def test_json_and_back_is_the_same_report() -> None:
    report = report_json.rounded(looked())
    assert report_json.loads(report_json.dumps(report)) == report
