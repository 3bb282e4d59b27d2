"""blocked-gradient: which cuts are meant and which are not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gradscope.records import Cut, Severity, TriedGradient
from gradscope.rules import Parts, judge
from tests.rules.made import blocked, found, layer, measured, parameter, source
from tests.rules.training.made import trained

RULE = "blocked-gradient"
STOP = Cut("stop_gradient", source(5, "x = stop_gradient(x)"), on_parameter=False)
NAMED = Cut("stop_gradient", source(3, "tree.map(stop_gradient, p)"), on_parameter=True)
ARGMAX = Cut("argmax", source(9, "jnp.argmax(scores)"), on_parameter=False)


def net(*leaves):
    names = dict.fromkeys(leaf.layer for leaf in leaves)
    return measured([layer(name, i + 1) for i, name in enumerate(names)], leaves)


MEANT = {
    "backbone under a head": [
        blocked("backbone.layers[0].w", STOP),
        blocked("backbone.layers[1].w", STOP),
        parameter("head.w"),
    ],
    "target beside online": [parameter("params.online.w"), blocked("params.target.w", STOP)],
    "named leaf among alike ones": [blocked("dense_0.w", NAMED), parameter("dense_1.w")],
    "two frozen towers": [blocked("image.w", STOP), blocked("text_encoder.w", STOP), parameter("head.w")],
}
MISPLACED = {
    "list": [blocked("layers[0].w", STOP), blocked("layers[1].w", STOP), parameter("layers[2].w")],
    "list below a shared root": [blocked("p.layers[0].w", STOP), parameter("p.layers[1].w")],
    "bare list": [blocked("[0].w", STOP), blocked("[1].w", STOP), parameter("[2].w")],
    "numbered names": [blocked("dense_0.kernel", STOP), parameter("dense_1.kernel")],
    "flat names": [
        blocked("w1", STOP, layer="1"),
        blocked("b1", STOP, layer="1"),
        parameter("w2", layer="2"),
        parameter("b2", layer="2"),
    ],
    "half of a part": [
        blocked("encoder.in.w", STOP),
        parameter("encoder.out.w"),
        parameter("head.w"),
    ],
}


@pytest.mark.parametrize("leaves", MEANT.values(), ids=MEANT.keys())
def test_a_frozen_part_is_a_note(leaves):
    findings = found(net(*leaves), RULE)
    assert [finding.severity for finding in findings] == [Severity.NOTE]


@pytest.mark.parametrize("leaves", MISPLACED.values(), ids=MISPLACED.keys())
def test_a_cut_between_alike_parts_is_an_error(leaves):
    findings = found(net(*leaves), RULE)
    assert [finding.severity for finding in findings] == [Severity.ERROR]


def test_one_cut_is_one_finding_that_lists_the_layers_it_blocks():
    (finding,) = found(net(*MISPLACED["list"]), RULE)
    assert finding.source == STOP.source
    assert finding.layer == "layers[1]"
    assert "`layers[0]` and `layers[1]`" in finding.message
    assert "`stop_gradient` blocks every path" in finding.message


@pytest.mark.parametrize("op", ["argmax", "round", "floor", "sign", "gt", "convert_element_type", "new_op"])
def test_an_operation_without_a_gradient_is_an_error_even_for_a_whole_part(op):
    cut = Cut(op, source(9), on_parameter=False)
    (finding,) = found(net(blocked("encoder.w", cut), parameter("head.w")), RULE)
    assert finding.severity is Severity.ERROR
    assert f"`{op}`" in finding.message


def test_nothing_left_that_trains_is_an_error_whatever_cut_it():
    (finding,) = found(net(blocked("a.w", NAMED), blocked("b.w", NAMED)), RULE)
    assert finding.severity is Severity.ERROR
    assert "No parameter of the model trains" in finding.message


def test_a_leaf_with_two_cuts_is_told_once_under_the_wider_one():
    leaves = [blocked("a.w", ARGMAX, STOP), blocked("b.w", ARGMAX), parameter("head.w")]
    (finding,) = found(net(*leaves), RULE)
    assert finding.evidence["op"] == "argmax"
    assert finding.evidence["parameters"] == 2


def test_two_cuts_are_two_findings():
    leaves = [blocked("a.w", ARGMAX), blocked("b.w", STOP), parameter("head.w")]
    assert {finding.evidence["op"] for finding in found(net(*leaves), RULE)} == {"argmax", "stop_gradient"}


def test_a_blocked_leaf_without_a_known_cut_is_still_told():
    (finding,) = found(net(blocked("a.w"), parameter("b.w")), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.source is None


def test_connected_parameters_are_silent():
    assert not found(net(parameter("a.w"), parameter("b.w")), RULE)


def test_a_codebook_frozen_by_name_and_looked_up_by_argmin_is_meant():
    cuts = (Cut("argmin", source(3), on_parameter=False), NAMED)
    codebook = replace(blocked("codebook", NAMED), cuts=cuts)
    (finding,) = found(net(codebook, parameter("encoder.w")), RULE)
    assert finding.severity is Severity.NOTE


def test_integers_that_a_library_makes_are_told_with_what_has_their_dtype():
    cut = Cut("round", source(4), on_parameter=False, into="uint8", like=("batch.image",))
    (finding,) = found(net(blocked("warp.shift", cut), parameter("head.w")), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.message.startswith(
        "The conversion of a result to uint8, the dtype that `batch.image` has,"
    )
    assert "`batch.image.astype(jnp.float32)`" in finding.remedy


STRAIGHT = replace(STOP, straight_through=True)
COMPARED = replace(STRAIGHT, compared=source(35, "(code - stop_gradient(z)) ** 2"))


def test_a_codebook_loss_after_the_straight_through_line_is_an_error_with_its_line():
    commitment = replace(STOP, source=source(30))
    cuts = (commitment, COMPARED)
    leaves = [parameter("encoder.w"), blocked("codebook", *cuts), parameter("decoder.w")]
    (finding,) = found(net(*leaves), RULE)
    assert finding.severity is Severity.ERROR
    assert finding.source == STOP.source
    assert "model.py:35 subtracts that other input" in finding.message
    assert finding.remedy == (
        "Compute the difference at model.py:35 from the value before the straight-through line."
    )


def test_a_codebook_behind_a_straight_through_line_alone_may_learn_by_a_moving_average():
    leaves = [parameter("encoder.w"), blocked("codebook", STRAIGHT), parameter("decoder.w")]
    (finding,) = found(net(*leaves), RULE)
    assert finding.severity is Severity.NOTE
    assert "moving average" in finding.remedy


def tried(**fields):
    defaults = {
        "source": STOP.source,
        "leaves": ("encoder.w",),
        "given": 20,
        "kept": 3,
        "steps": 100,
        "longer": 500,
        "start": 4.0,
        "end_without": 1.4,
        "end_longer": 0.5,
        "end": 0.1,
    }
    flow = net(blocked("encoder.w", STOP), parameter("head.w"))
    training = trained(let_through=TriedGradient(**(defaults | fields)))
    (finding,) = (each for each in judge(Parts(flow=flow, training=training))[0] if each.rule == RULE)
    return finding


def test_a_random_part_that_is_worth_training_is_a_warning():
    finding = tried()
    assert finding.severity is Severity.WARNING
    assert (finding.layer, finding.source) == ("encoder", STOP.source)
    assert "Of the 20 numbers of an example 3 go on." in finding.message
    assert "end at a loss of 0.5; with the gradient let through, 100 steps end at 0.1." in finding.message


@pytest.mark.parametrize(
    "fields",
    [{"end": 0.26}, {"end_longer": 0.29}, {"end": -0.1}, {"end": float("nan")}, {"source": source(6)}],
)
def test_one_that_learns_nearly_as_well_without_stays_a_note(fields):
    assert tried(**fields).severity is Severity.NOTE
