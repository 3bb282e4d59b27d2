"""Groups of devices in each way in which XLA writes them, and the axes of a mesh that they are."""

from __future__ import annotations

import pytest

from gradscope.workload.device_groups import axes_along, axes_between, groups_of

MESH = {"data": 4, "model": 2}
ROWS = [[0, 1], [2, 3], [4, 5], [6, 7]]
COLUMNS = [[0, 2, 4, 6], [1, 3, 5, 7]]


@pytest.mark.parametrize(
    ("text", "groups", "axes"),
    [
        ("replica_groups={{0,1},{2,3},{4,5},{6,7}}", ROWS, ("model",)),
        ("replica_groups=[4,2]<=[8]", ROWS, ("model",)),
        ("replica_groups=[2,4]<=[4,2]T(1,0)", COLUMNS, ("data",)),
        ("replica_groups=mesh['data'=4,'model'=2] {'model'}", ROWS, ("model",)),
        ("replica_groups=mesh['axis_0'=4,'axis_1'=1,'axis_2'=2] {'axis_0'}", COLUMNS, ("data",)),
        ("replica_groups={}", [list(range(8))], ("data", "model")),
        ("replica_groups=mesh['a'=8] {'a'}", [list(range(8))], ("data", "model")),
        # The half of `data` that is next to `model`: no axis of the mesh.
        ("replica_groups=mesh['a'=8] {'a':(2)2}", [[0, 2], [1, 3], [4, 6], [5, 7]], ()),
        ("replica_groups=mesh['a'=8] {'a':(4)2}", ROWS, ("model",)),
        ("replica_groups={{0,3},{1,2},{4,5},{6,7}}", [[0, 3], [1, 2], [4, 5], [6, 7]], ()),
    ],
)
def test_groups_are_read_and_named(text: str, groups: list[list[int]], axes: tuple[str, ...]) -> None:
    found = groups_of(f"channel_id=1, {text}, to_apply=%add", 8)
    assert found is not None
    assert sorted(map(sorted, found.tolist())) == groups
    assert axes_along(found, MESH) == axes


def test_groups_that_cannot_be_read_are_none() -> None:
    assert groups_of("replica_groups={{0,1},{2}}", 3) is None
    assert groups_of("replica_groups=somehow else", 8) is None


def test_a_permutation_lies_along_the_axes_on_which_its_pairs_differ() -> None:
    assert axes_between("source_target_pairs={{0,2},{2,4},{4,6},{6,0}}", MESH) == ("data",)
    assert axes_between("source_target_pairs={{0,1},{1,0}}", MESH) == ("model",)
    assert axes_between("source_target_pairs={{0,3}}", MESH) == ("data", "model")
    assert axes_between("source_target_pairs={{0,0},{1,1}}", MESH) is None
    assert axes_between("source_target_pairs={{0,1}}", {}) == ()
