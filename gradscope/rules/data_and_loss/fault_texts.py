"""What is said of an output that does not fit its loss, where the record alone tells it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from gradscope.records import Number, OutputFault, OutputMismatch, Severity
from gradscope.rules.base import Hit
from gradscope.rules.words import number, shape_text

_TO_ONE = {
    (-1.0, 1.0): "Bring them to 0 and 1 first: `(y + 1) / 2`.",
    (0.0, 255.0): "Bring them to 0 and 1 first: `y / 255`.",
}
"""By the smallest and the largest target."""


def _hit(
    output: OutputMismatch,
    *,
    message: str,
    remedy: str,
    evidence: Mapping[str, Number],
    severity: Severity = Severity.ERROR,
) -> Hit:
    layer, source = output.layer, output.source
    return Hit(message, remedy, evidence, layer, source=source, severity=severity, explains=None)


def _in_place_of_binary(where: str, smallest: float, largest: float) -> str:
    if not (smallest.is_integer() and largest.is_integer()):
        return f"Numbers that are no classes want a squared error, and {where} no sigmoid."
    return (
        f"For several classes give {where} a unit for each, and take "
        "`optax.softmax_cross_entropy_with_integer_labels(logits, labels)`; numbers that are no classes want "
        "a squared error."
    )


def _not_binary(output: OutputMismatch) -> Hit:
    smallest, largest, outside = output.smallest or 0.0, output.largest or 0.0, output.outside or 0.0
    where = f"`{output.layer}`" if output.layer else "the last layer"
    return _hit(
        output,
        message=(
            f"The targets of this binary cross-entropy go from {number(smallest)} to {number(largest)}, and "
            f"{outside:.1%} of them are no probabilities: above 1 or below 0 the loss has no "
            "minimum, and falls without end as the output grows."
        ),
        remedy=_TO_ONE.get((smallest, largest)) or _in_place_of_binary(where, smallest, largest),
        evidence={"smallest": smallest, "largest": largest, "outside": outside},
    )


def _overlap(output: OutputMismatch) -> Hit:
    smallest, largest, outside = output.smallest or 0.0, output.largest or 0.0, output.outside or 0.0
    return _hit(
        output,
        message=(
            "The loss takes an overlap: sums of products of outputs and targets over the sums of both. The "
            f"outputs lie in [0, 1], and the targets go from {number(smallest)} to {number(largest)}, "
            f"{outside:.1%} of them outside of it: the larger they are, the less an output outside of the "
            "mask counts against one inside, and an overlap of 1 is no longer the largest."
        ),
        remedy=_TO_ONE.get(
            (smallest, largest), "Bring the targets to 0 and 1, with a channel for each of several classes."
        ),
        evidence={"smallest": smallest, "largest": largest, "outside": outside},
    )


def _no_probability(output: OutputMismatch) -> Hit:
    what = (
        f"a {output.function}" if output.function != "linear layer" else "a layer with no function behind it"
    )
    return _hit(
        output,
        message=f"The two logarithms of this binary cross-entropy want a probability, and get the output of "
        f"{what}: nothing keeps it between 0 and 1, and where it is cut off to fit, no gradient comes back.",
        remedy="Give the loss the output of the layer as a logit: "
        "`optax.sigmoid_binary_cross_entropy(logits, y)`.",
        evidence={"function": output.function},
    )


def _wrong_axis(output: OutputMismatch) -> Hit:
    over, along = output.axis or 0, output.classes_axis or 0
    places = output.shape[over]
    return _hit(
        output,
        message=(
            f"The {output.function} runs over axis {over} of its {shape_text(output.shape)}, which has "
            f"{places} places, and the labels choose along axis {along}, among {output.classes} classes: the "
            "probabilities of a class sum to 1 over the places, and nothing makes those of a place do so."
        ),
        remedy=f"Normalize over the classes: `axis={along - len(output.shape)}`.",
        evidence={"axis": over, "classes_axis": along, "places": places, "classes": output.classes},
    )


def _likelihood(output: OutputMismatch) -> Hit:
    return _hit(
        output,
        message=(
            "The loss is the log-probability of the labels, and no minus stands before it: it falls as the "
            "probability of the right answers goes to 0."
        ),
        remedy="Minimize the negative log-likelihood: put a minus before it. An adversarial attack and "
        "unlearning want the loss as it is; then ignore this.",
        evidence={"classes": output.classes},
        severity=Severity.WARNING,
    )


def _distance(output: OutputMismatch) -> Hit:
    return _hit(
        output,
        message=("The loss is minus the distance of the outputs from the targets: it falls as they part."),
        remedy="Minimize the distance: take the minus away. An adversarial attack and unlearning want the "
        "loss as it is; then ignore this.",
        evidence={},
        severity=Severity.WARNING,
    )


def _never_negative(output: OutputMismatch) -> Hit:
    return _hit(
        output,
        message=(
            f"The scores of the {output.classes} classes are the output of a ReLU: none is below 0, and "
            "where one is 0 no gradient comes back through it."
        ),
        remedy="Leave out the ReLU: a cross-entropy takes scores of either sign.",
        evidence={"function": output.function, "classes": output.classes},
        severity=Severity.WARNING,
    )


def _twice(output: OutputMismatch) -> Hit:
    first = output.function
    largest = 1 / (1 + math.exp(-1))
    what = (
        f"A sigmoid is taken of what is a {first} already: the result lies between 0.5 and {number(largest)}"
    )
    if output.applied == "softmax":
        largest = math.e / (math.e + output.classes - 1)
        what = (
            f"A softmax is taken of what is a {first} already: its inputs lie between 0 and 1, so that none "
            f"of the {output.classes} classes gets a probability above {number(largest)}"
        )
    floor = -math.log(largest)
    return _hit(
        output,
        message=f"{what}. A cross-entropy with class labels stays above {number(floor)}.",
        remedy=f"Leave out the first {first}: give the loss the logits, which it normalizes itself.",
        evidence={"function": first, "classes": output.classes, "largest": largest, "floor": floor},
        severity=Severity.WARNING,
    )


BY_ITSELF: dict[OutputFault, Callable[[OutputMismatch], Hit]] = {
    OutputFault.NORMALIZED_TWICE: _twice,
    OutputFault.LIKELIHOOD: _likelihood,
    OutputFault.DISTANCE: _distance,
    OutputFault.NEVER_NEGATIVE: _never_negative,
    OutputFault.NOT_BINARY: _not_binary,
    OutputFault.OVERLAP: _overlap,
    OutputFault.NO_PROBABILITY: _no_probability,
    OutputFault.WRONG_AXIS: _wrong_axis,
}
