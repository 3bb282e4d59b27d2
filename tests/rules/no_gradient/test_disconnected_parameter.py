"""disconnected-parameter."""

from __future__ import annotations

from gradscope.records import Connection, Severity
from tests.rules.made import found, layer, measured, parameter, zero

RULE = "disconnected-parameter"


def loose(name, **fields):
    return parameter(name, connection=Connection.DISCONNECTED, **zero() | fields)


def net(*leaves):
    names = dict.fromkeys(leaf.layer for leaf in leaves)
    return measured([layer(name, i + 1) for i, name in enumerate(names)], leaves)


def test_the_leaves_of_one_layer_are_one_error():
    (finding,) = found(net(parameter("a.w"), loose("b.w"), loose("b.b"), parameter("c.w")), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.layer == "b"
    assert finding.parameter is None
    assert finding.source is not None
    assert "`b.w` and `b.b` do not reach the loss" in finding.message


def test_a_single_leaf_is_named_as_the_parameter():
    (finding,) = found(net(parameter("a.w"), loose("a.gain")), RULE)
    assert finding.parameter == "a.gain"
    assert "`a.gain` does not reach the loss" in finding.message


def test_two_layers_of_a_list_are_two_findings():
    net_of_list = net(parameter("layers[0].w"), loose("layers[1].w"), loose("layers[2].w"))
    assert [one.layer for one in found(net_of_list, RULE)] == ["layers[1]", "layers[2]"]


def test_a_whole_part_is_one_finding_however_many_layers_it_has():
    leaves = [parameter("online.head.w"), *(loose(f"spare.layers[{i}].w") for i in range(60))]
    (finding,) = found(net(*leaves), RULE)
    assert finding.evidence["parameters"] == 60
    assert "60 layers" in finding.message


def test_nothing_connected_is_one_finding_for_the_network():
    (finding,) = found(net(loose("a.w"), loose("b.w")), RULE)
    assert finding.layer is None
    assert "No parameter reaches the loss" in finding.message


def test_state_is_a_note():
    (finding,) = found(net(parameter("a.w"), parameter("norm.mean", connection=Connection.STATE)), RULE)
    assert finding.severity is Severity.NOTE
    assert "auxiliary output" in finding.message


def test_connected_blocked_and_empty_leaves_are_silent():
    leaves = [
        parameter("a.w"),
        parameter("b.w", connection=Connection.BLOCKED),
        loose("c.w", size=0, shape=(0, 4)),
        parameter("d.w", **zero()),
    ]
    assert not found(net(*leaves), RULE)
    assert not found(net(), RULE)
