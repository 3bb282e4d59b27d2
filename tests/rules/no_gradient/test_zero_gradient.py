"""zero-gradient: dead, and zero by construction."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Connection, Recurrence, Severity
from tests.rules.activations.made import units
from tests.rules.made import decay, found, judge, layer, measured, parameter, source, zero

RULE = "zero-gradient"


def net(*zeros, layers=6, nonzero_after_steps=False, **fields):
    """Layers `layers[i]` with `w` and `b`; those in `zeros` have no gradient and no δ."""
    made, leaves = [], []
    for i in range(layers):
        name, dead = f"layers[{i}]", i in zeros
        numbers = zero(nonzero_after_steps=nonzero_after_steps) if dead else {}
        made.append(layer(name, i + 1, 0.0 if dead else 1.0, **(zero() if dead else {}) | fields))
        leaves.append(parameter(f"{name}.w", **numbers))
        leaves.append(parameter(f"{name}.b", shape=(32,), size=32, **numbers))
    return measured(made, leaves)


def test_a_dead_layer_that_stays_dead_is_an_error():
    (finding,) = found(net(2), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.layer == "layers[2]"
    assert "dead" in finding.message


def test_dead_layers_in_a_row_are_one_finding_at_the_root():
    (finding,) = found(net(0, 1, 2), RULE)
    assert finding.layer == "layers[2]"
    assert "The same holds for `layers[0]` and `layers[1]`." in finding.message


def test_the_layer_above_a_dead_relu_is_its_symptom():
    dead = net(0, 1, 2)
    leaves = [
        replace(leaf, **zero(nonzero_after_steps=False)) if leaf.name == "layers[3].w" else leaf
        for leaf in dead.parameters
    ]
    (finding,) = found(measured(dead.layers, leaves), RULE)
    assert finding.layer == "layers[2]"
    assert "`layers[3].w`" in finding.message
    assert "`layers[3]`" not in finding.message


def test_two_dead_places_are_two_findings():
    assert [finding.layer for finding in found(net(1, 4), RULE)] == ["layers[1]", "layers[4]"]


def test_a_matrix_with_a_delta_and_no_gradient_has_a_zero_input():
    leaves = [
        replace(leaf, **zero(nonzero_after_steps=False)) if leaf.name == "layers[0].w" else leaf
        for leaf in net().parameters
    ]
    (finding,) = found(measured(net().layers, leaves), RULE)
    assert finding.parameter == "layers[0].w"
    assert "its input may be all zeros" in finding.message


def test_what_comes_alive_after_some_steps_is_silent():
    assert not found(net(0, 1, 2, 3, 4, nonzero_after_steps=True), RULE)


def test_without_a_look_ahead_it_is_a_warning_that_says_so():
    (finding,) = found(net(2, nonzero_after_steps=None), RULE)
    assert finding.severity is Severity.WARNING
    assert "was not measured" in finding.message


def test_a_bias_that_the_loss_does_not_depend_on_is_silent():
    leaves = [
        replace(leaf, **zero(nonzero_after_steps=False)) if leaf.name.endswith(".b") else leaf
        for leaf in net().parameters
    ]
    assert not found(measured(net().layers, leaves), RULE)


def test_a_vector_on_its_own_is_a_warning():
    leaves = [
        parameter("gain.g", shape=(32,), size=32, **zero(nonzero_after_steps=False)),
        parameter("head.w"),
    ]
    (finding,) = found(measured([layer("gain", 1, 0.0), layer("head", 2)], leaves), RULE)
    assert finding.severity is Severity.WARNING


def test_an_expert_that_the_batch_was_not_routed_to_is_a_note():
    layers = [
        layer(f"experts[{i}]", 3, 0.0 if i == 1 else 1.0, **(zero() if i == 1 else {})) for i in range(4)
    ]
    leaves = [
        parameter(f"experts[{i}].w", **(zero(nonzero_after_steps=False) if i == 1 else {})) for i in range(4)
    ]
    (finding,) = found(measured(layers, leaves), RULE)
    assert finding.severity is Severity.NOTE
    assert "may not use it" in finding.message


def test_blocked_disconnected_and_empty_leaves_belong_to_other_rules():
    leaves = [
        parameter("a.w", connection=Connection.BLOCKED, **zero()),
        parameter("b.w", connection=Connection.DISCONNECTED, **zero()),
        parameter("c.w", size=0, shape=(0,), **zero()),
        parameter("d.w"),
    ]
    assert not found(measured([layer(name, 1) for name in "abcd"], leaves), RULE)


def test_underflow_below_a_vanishing_gradient_is_told_with_its_cause():
    dead = net(0, 1, layers=12)
    deltas = decay(10, 1e-4)
    layers = [one if i < 2 else replace(one, delta_norm=deltas[i - 2]) for i, one in enumerate(dead.layers)]
    (finding,) = judge(measured(layers, dead.parameters))[0]
    assert finding.rule == "vanishing-gradient"
    assert finding.evidence["silenced"] == "zero-gradient"


def test_a_head_whose_targets_this_batch_lacks_is_a_note():
    heads = [layer("heads.box", 3, 1.0), layer("heads.class", 3, 0.0, **zero())]
    leaves = [parameter("heads.box.w"), parameter("heads.class.w", **zero(nonzero_after_steps=False))]
    (finding,) = found(measured(heads, leaves), RULE)
    assert finding.severity is Severity.NOTE
    assert finding.layer == "heads.class"


def ensemble(used):
    """Two members of two layers; the first layer of the second member has no gradient."""
    made = [
        layer(f"critics[{i}].{name}", depth, 1.0 if i == 0 or (used and depth == 2) else 0.0)
        for depth, name in ((1, "hidden"), (2, "out"))
        for i in range(2)
    ]
    made = [
        one
        if one.delta_norm
        else replace(one, **zero(), nonzero_after_steps=False, parameters=one.parameters)
        for one in made
    ]
    stacked = {"shape": (2, 32, 32), "size": 2048}
    leaves = [parameter(f"critics.{name}.w", **stacked) for name in ("hidden", "out")]
    rows = [replace(one, parameters=(f"critics.{'hidden' if one.depth == 1 else 'out'}.w",)) for one in made]
    return measured(rows, leaves)


def test_a_dead_layer_of_a_member_whose_later_layers_learn_is_an_error():
    (finding,) = found(ensemble(used=True), RULE)
    assert (finding.layer, finding.severity) == ("critics[1].hidden", Severity.ERROR)
    assert "`critics[1].hidden`" in finding.message


def test_a_member_that_the_batch_does_not_use_at_all_is_a_note():
    findings = found(ensemble(used=False), RULE)
    assert {finding.severity for finding in findings} == {Severity.NOTE}
    assert all(finding.layer.startswith("critics[1]") for finding in findings)


def test_of_layers_without_a_gradient_the_first_one_with_dead_units_is_the_root():
    dead = net(0, 1, 2)
    known = (units("layers[1]", dead=64), units("layers[2]", dead=64))
    (finding,) = found(replace(dead, units=known), RULE)
    assert finding.layer == "layers[1]"
    assert "all its 64 units are dead" in finding.message
    (finding,) = found(replace(dead, units=(units("layers[1]", dead=60),)), RULE)
    assert finding.layer == "layers[2]"
    assert "all its units may be dead" in finding.message


def test_weights_that_are_all_zero_are_told_as_such():
    dead = net(0)
    layers = [replace(one, weight_rms=0.0) if one.name == "layers[0]" else one for one in dead.layers]
    (finding,) = found(replace(dead, layers=tuple(layers)), RULE)
    assert "all its weights are 0" in finding.message
    assert finding.remedy.startswith("Draw its weights at random")


def test_of_a_normalization_no_scale_is_to_begin_at_zero():
    dead = net(0)
    layers = [replace(one, op="mul") if one.name == "layers[0]" else one for one in dead.layers]
    (finding,) = found(replace(dead, layers=tuple(layers)), RULE)
    assert "a normalization over a single example leaves zeros" in finding.remedy
    assert "at 0" not in finding.remedy


def test_one_part_of_a_module_beside_others_may_be_unused_by_this_batch():
    """A branch for sounds, in a batch of texts; query and key of a single key are told by another rule."""
    dead = {"key": 1, "query": 1}
    parts = {"key": 1, "query": 1, "value": 1, "out": 2}
    layers = [
        layer(
            f"attn.{name}",
            depth,
            0.0 if name in dead else 1.0,
            activation=None,
            **(zero() if name in dead else {}),
        )
        for name, depth in parts.items()
    ]
    leaves = [
        parameter(f"attn.{name}.w", **(zero(nonzero_after_steps=False) if name in dead else {}))
        for name in parts
    ]
    (finding,) = found(measured(layers, leaves), RULE)
    assert finding.severity is Severity.NOTE


@pytest.mark.parametrize(("others", "severity"), [(1.0, Severity.WARNING), (0.0, Severity.ERROR)])
def test_a_part_that_is_zero_in_these_data_is_a_warning(others: float, severity: Severity) -> None:
    """An irreducible representation that no example has: δ comes to its weights, and the others learn."""
    assert severity_beside("linear['w[1,1] 8x2o']", "linear['w[0,0] 8x0e']", others) is severity


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("cell.h", "cell.x"),
        ("block.q", "block.v"),
        ("attn['to q']", "attn['to v']"),
        ("linear['u[1,1]']", "linear['w[0,0]']"),
    ],
)
def test_a_state_that_is_not_carried_is_no_part_of_the_data(name: str, other: str) -> None:
    assert severity_beside(name, other, 1.0) is Severity.ERROR


def severity_beside(name: str, other: str, others: float) -> Severity:
    """Of a layer with δ and no gradient beside another one, which learns where `others` is not 0."""
    names = {other: others, name: 0.0}
    layers = [layer(name, 1, **({} if alive else zero())) for name, alive in names.items()]
    leaves = [
        parameter(f"{name}.w", layer=name, **({} if alive else zero(nonzero_after_steps=False)))
        for name, alive in names.items()
    ]
    rest = [layer("out", 2)]
    (told,) = found(measured([*layers, *rest], [*leaves, parameter("out.w")]), RULE)
    return told.severity


def one_step(**fields):
    """A recurrent weight that only zeros are multiplied with, in a loop of which the first step is read."""
    made = [layer("cell.x", 1), layer("cell.h", 1, gradient_max=0.0), layer("head", 2)]
    leaves = [
        parameter("cell.x.w"),
        parameter("cell.h.w", gradient_norm=0.0, gradient_max=0.0, nonzero_after_steps=False),
        parameter("head.w"),
    ]
    loop = {
        "name": "scan",
        "source": None,
        "length": 4,
        "layers": ("cell.x", "cell.h"),
        "delta_norms": (0.5, 0.0, 0.0, 0.0),
        "state_rms": (0.0, 1.0, 1.0, 1.0),
    }
    return measured(made, leaves, recurrences=(Recurrence(**(loop | fields)),))


def test_a_loop_of_which_the_first_step_is_read_alone_is_the_cause():
    (finding,) = found(one_step(taken_at=source(9)), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.source == source(9)
    assert "A single step of its outputs is taken at" in finding.message
    assert "Let the loss read the last step" in finding.remedy
    (finding,) = found(one_step(taken_at=source(9), backward=True), RULE)
    assert "backward[:, 0]" in finding.remedy


@pytest.mark.parametrize(
    "fields",
    [
        {"delta_norms": (0.5, 0.1, 0.0, 0.0)},
        {"state_rms": (1.0, 1.0, 1.0, 1.0)},
        {"delta_norms": (0.5,), "state_rms": (0.0,), "length": 1},
    ],
    ids=["two steps", "a learned start", "one step"],
)
def test_another_loop_is_not(fields):
    (finding,) = found(one_step(**fields), RULE)
    assert "It is used in a loop" not in finding.message
