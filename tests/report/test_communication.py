"""What devices send each other, in every format for people."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Communication, Cost
from gradscope.report.shared.communication import between_devices, communication_tables
from gradscope.serialization import report_json
from tests.report.canned import HOSTILE, costly
from tests.report.pages import shown


def cost_of(*communication: Communication) -> Cost:
    found = costly().cost
    assert found is not None
    return replace(found, communication=communication)


FIRST, SECOND = costly().cost.communication  # type: ignore[union-attr]


def told(*communication: Communication) -> str:
    return " ".join(between_devices(cost_of(*communication)))


def test_a_mesh_is_told_with_what_its_devices_send() -> None:
    text = told(SECOND)
    assert (
        "Over 8 devices (fsdp=8) a step and its update of the parameters take 2 operations between devices. "
        "Their arrays have 8 KiB together (all-reduce 8 KiB). Each "
        "device has to send 12 KiB at least." in text
    )
    assert "is not measured" in text
    assert "Least" not in text
    assert "loss and gradient take" in told(replace(SECOND, updated=False))
    assert "take no operation between devices" in told(replace(SECOND, collectives=()))
    assert told() == ""


def test_a_loop_without_a_known_number_of_steps_is_told() -> None:
    assert "One of them stands in a loop" in told(FIRST)
    assert "2 of them stand in a loop" in told(replace(FIRST, open_loops=2))


def test_meshes_are_compared_by_what_is_sent_and_by_memory() -> None:
    assert "Least is sent with fsdp=8: 12 KiB by each device; it takes least memory there, too" in told(
        FIRST, SECOND
    )
    large = replace(SECOND, peak=2**24)
    assert "with 16 MiB of memory; least memory is taken with data=4," in told(FIRST, large)
    assert [table.title for table in communication_tables(cost_of(FIRST, SECOND))] == [
        "Meshes compared",
        "What devices send each other",
    ]
    assert [table.title for table in communication_tables(cost_of(SECOND))] == [
        "What devices send each other"
    ]
    assert communication_tables(cost_of()) == []


def test_layers_named_alike_are_one_row_and_the_last_row_is_the_sum() -> None:
    (table,) = communication_tables(cost_of(FIRST))
    columns = {column.heading: list(column.cells) for column in table.columns}
    assert table.names[0] == "blocks[*].up"
    assert table.names[-2:] == ["update of the optimizer", "all layers"]
    assert columns["times"][0] == "26"
    assert columns["to send at least"][-1] == "157 KiB"
    assert columns["bytes forward"][-1] == "104 B"


@pytest.mark.parametrize("name", ["terminal", "markdown", "html"])
def test_names_do_nothing(name: str) -> None:
    page = shown(costly(), name)
    assert "<script" not in page
    assert HOSTILE not in page


def test_json_and_back_is_the_same() -> None:
    report = report_json.rounded(costly())
    assert report_json.loads(report_json.dumps(report)) == report
