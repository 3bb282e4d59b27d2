"""Why the gradient of a layer is exactly zero, and what to do about it."""

from __future__ import annotations

from gradscope.records import GradientEnd, Idleness, Layer, Measurement
from gradscope.rules.initial_scale import common_activation, started_otherwise
from gradscope.rules.profile import PRODUCTS


def has_delta(layer: Layer) -> bool:
    return layer.delta_norm is not None and layer.delta_norm > 0


def cause_of(measurement: Measurement, root: Layer, unrouted: bool) -> tuple[str, str]:
    """The sentence, and the remedy. `unrouted`: an expert or a branch that the batch may not use."""
    if unrouted:
        return (
            "Similar layers at the same depth have a gradient, so this batch may not use it.",
            "Nothing to do if it is an expert or a branch; check over more batches to be sure.",
        )
    if begins_with_zeros(measurement, root):
        return (
            "δ at its output is not zero, but its input is a constant 0 in the program, as the state of a "
            "recurrent cell at its first step is.",
            "Nothing to do if this cell runs one step alone; else give it the state of the step before.",
        )
    if has_delta(root) and root.uses > 1:
        return (
            f"δ at its output is not zero, but over its {root.uses} uses the products of its input and δ sum "
            "to exactly 0: the uses may cancel each other, as in a ratio of two equal terms.",
            "Put `jax.lax.stop_gradient` around the use that is meant as a constant (an old log-probability, "
            "a target).",
        )
    if cleared_input(measurement, root):
        return (
            "δ at its output is not zero, but its input is an array of the batch that is 0 everywhere.",
            "Nothing to do if these examples have none of it; check over more batches to be sure. Else look "
            "at how that part of the batch is made.",
        )
    if has_delta(root):
        return (
            "δ at its output is not zero, but the products of its input and δ sum to exactly 0: its input "
            "may be all zeros, or zero in every row in which δ is not.",
            "Look at what produces its input (dead units, data that is all zeros), and at masks: the rows "
            "that one keeps may be those that another one clears.",
        )
    into = [each for each in measurement.surrogates if root.name in each.layers]
    if into and all(each.window == 0 for each in into):
        closed = into[0]
        at = "" if closed.source is None else f" at {closed.source}"
        return (
            f"δ at its output is exactly zero. It goes into `{closed.function}`{at}, whose surrogate "
            "gradient is 0 at every element that was looked at.",
            "Bring what goes into it nearer to the threshold (larger weights, a lower threshold), or make "
            "the window of the surrogate wider.",
        )
    end = end_of(measurement, root)
    if end is None and common_activation([root]) in ("relu", "relu6"):
        return _of_a_relu(measurement, root)
    if end is not None and end.cleared:
        return _of_a_mask(end)
    if end is not None:
        at = "" if end.source is None else f" at {end.source}"
        return (
            f"δ at its output is exactly zero: the gradient ends in the `{end.function}`{at}, which gets one "
            "and passes nothing back.",
            "Start where some of what goes into it is positive (a bias above 0), or use `jax.nn.softplus`, "
            "whose slope is not zero below."
            if end.function == "relu"
            else f"Look at what goes into the `{end.function}`: its derivative there is 0 at every element.",
        )
    return (
        "δ at its output is exactly zero: the operations after it pass no gradient back.",
        "Look for an operation between it and the loss with a zero derivative: a product with zero, a clip, "
        "a saturated function, a softmax over a single entry.",
    )


def cleared_input(measurement: Measurement, layer: Layer) -> bool:
    """Whether it is known that what goes into a layer is an array of the batch that is 0 everywhere."""
    return has_delta(layer) and any(
        end.cleared and end.layer == layer.name for end in measurement.gradient_ends
    )


def begins_with_zeros(measurement: Measurement, layer: Layer) -> bool:
    """Whether all that it multiplies is a constant 0, and no loop over time is known to be around it."""
    once = [each for each in measurement.idle_recurrences if each.kind is Idleness.ONCE]
    return has_delta(layer) and any(layer.name in each.layers for each in once)


def end_of(measurement: Measurement, root: Layer) -> GradientEnd | None:
    """Told where no dead units say what passes no gradient back to a layer."""
    dead = any(each.layer == root.name and each.dead == each.units for each in measurement.units)
    if has_delta(root) or dead or root.weight_rms == 0:
        return None
    return next((end for end in measurement.gradient_ends if end.layer == root.name), None)


def _of_a_mask(end: GradientEnd) -> tuple[str, str]:
    at = "" if end.source is None else f" at {end.source}"
    how = (
        f"the `select_n`{at} takes no element of what is computed from it, by an array of the batch"
        if end.function == "select_n"
        else f"it is multiplied{at} by an array of the batch that is 0 everywhere"
    )
    return (
        f"δ at its output is exactly zero: {how}, as the mask of a task may be.",
        "Nothing to do if no example of this batch has a label for it; check over more batches to be sure. "
        "Else look at how that array is made.",
    )


def _of_a_relu(measurement: Measurement, root: Layer) -> tuple[str, str]:
    passes = "It goes into a ReLU, which passes nothing back where its input is not positive"
    known = next((each for each in measurement.units if each.layer == root.name), None)
    dead = known is not None and known.dead == known.units
    units = f"all its {known.units:,} units are dead" if known and dead else "all its units may be dead"
    if root.op in PRODUCTS and root.weight_rms == 0:
        return (
            f"δ at its output is exactly zero. {passes}, and all its weights are 0: {units}.",
            "Draw its weights at random (`jax.nn.initializers.he_normal()`); only biases may start at 0.",
        )
    start = started_otherwise(measurement, root.name)
    remedy = (
        f"{f'{start}, or use' if start else 'Use'} `jax.nn.leaky_relu` or GELU, whose slope is not zero "
        "there."
        if root.op in PRODUCTS
        else "Look at what goes into it: a normalization over a single example leaves zeros, as the mean of "
        "one is the example itself."
    )
    return f"δ at its output is exactly zero. {passes}: {units}.", remedy
