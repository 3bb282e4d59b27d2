"""A term of the loss sends its gradient where nothing can be learned from it.

## What it does
Reports terms of a loss that are wired so that credit goes to the wrong place. Most of them are found in
reinforcement learning, where a value is at once what is trained and what others are trained with:

- a *target* that is made of the network's own values (`reward + discount * value(next)`), with a gradient
  through it;
- an *advantage* that weighs log-probabilities, with a gradient into the critic's values in it;
- a value that is *averaged* over all rows before it is multiplied by the number of each row;
- a *sum* over all rows that is added to a value of each row, and counts once for each of them;
- log-probabilities of *every choice* that are weighed alike, whatever was chosen;
- a network behind a `stop_gradient`, of which an *offset* alone is left to train;
- predictions that meet the *labels of other rows*, since the two were flattened in different orders;
- *labels* that are not meant to count: fillers of sequences, or numbers below 0, which JAX takes as classes
  from the end;
- the *entropy* of a policy that is minimized, where it is meant to be kept up;
- the *clipping* of a policy's ratio that takes the larger gain and not the smaller one;
- a value that is drawn to a reward and a part of the next value in every row, where the batch says at which
  rows an episode *ends* and the loss does not read it;
- log-probabilities that are weighed by the rewards *before* an action, and not by those after it;
- a loss that *grows* with log-probabilities times what the file calls a reward, a return or an advantage.

## Why is this bad
No error is raised and the loss falls. But a value is drawn to what would make its own target come true,
actions are credited for all rewards of a batch alike, or for none; a policy becomes certain before it knows.

## How it is measured
From the program (its jaxpr), behind the last products with parameters. Sums are followed through constant
factors, views and arrays without a gradient that multiply them. A target is told by its terms: an array of
the batch, and the network's own value times an array of the batch whose numbers all lie in [0, 1] (the end
of an episode), or times a number below 1 where one of the values is chosen among several, less another
value of the network with a factor of 1; the difference ends in a square or an absolute value. Both values
have the same parameters and are made by the same operations, or are rows or times of one output: not two
columns of it, not a derivative. Without these it may be an equation of its own kind, and nothing is said.
Or the target is made by a scan over the very values that it is compared with, each step of which takes a
number below 1 of the one before.

An offset is all that is trained where only sums, squares and factors that the program writes stand behind
it. An advantage is told by a critic whose values are compared elsewhere, and by a logarithm in what it
multiplies, in a term that the loss is a sum with. A sum or a mean is told by all axes being taken, and the
result copied again. Log-probabilities are weighed alike where every use of them multiplies all choices by one
number and adds them up.

Labels of other rows are looked for where two axes of the data are made one in one order, and two of the
model's in the other: one example of the batch is replaced, and the rows of the predictions that change are
held against the rows of the labels that do. Which labels count is told by the loss with others in their
place, where sequences are filled up to one length or labels are below 0. That labels are fillers is told by
a mask or lengths in the batch, or by inputs that repeat one value at the same places. Labels below 0 are
told of where the class that they are taken for stands in the batch, too: a class may be kept for them.

The last three go by names, and say so: of the arrays of the batch (its keys and fields, or what the loss
calls its parts where it unpacks it), and of the factors of a product in the file. The ends of episodes are
zeros and ones that nothing in the program of the loss reads. Rewards are added up by a loop without
parameters that takes a part of the sum so far to the next step, and nothing that goes in is reversed. Of a
product the program tells the sign of the log-probability, and its line that of what multiplies it.

## Limits
None: the program is wired so, or it is not; of fillers, half of all labels or more. An error where the
gradient can say nothing of the rows or of the choices: a mean before the product, all choices alike, labels
of other rows (fewer than half of an example's labels meet its own predictions), and fillers alone. Else a
warning, since each of them is also a method of its own: a gradient through the target is the residual
gradient of Baird 1995, and an entropy is minimized in semi-supervised learning. Entropies are looked at
only beside log-probabilities of the same parameters that are multiplied by more than two numbers, of both
signs. The last three are warnings: a task may go on at an end, rewards may be stored backwards, and what is
called a reward may be meant to be small. The last one is not told where the optimizer climbs.

## Example
    target = rewards + 0.99 * q(params, next_states).max(-1)
    return jnp.mean((q_taken - target) ** 2)

Use instead:

    target = jax.lax.stop_gradient(rewards + 0.99 * q(params, next_states).max(-1))

## What it does not say
How much it matters: with a discount near 0, or rows that are alike, it hardly does. A mean or a sum within
an example (of the steps of an episode, of the agents of a team) is taken to be meant. Returns that are
added up outside of the loss are data, and so is what a loop over time computes of values and rewards inside
of itself, but for the case above.

## Source
Baird 1995, *Residual Algorithms* (ICML): the gradient through the target converges slowly. Williams 1992 and
Sutton et al. 1999, *Policy Gradient Methods*: each log-probability is multiplied by its own return. Mnih et
al. 2016, arXiv:1602.01783, and Schulman et al. 2017, arXiv:1707.06347: the entropy is a bonus. Reports:
Gymnasium #1336 and #1494, rlax #28, async-rl #12, keras-io #194, omnisafe #133, safe-grid-agents #28.
"""

from __future__ import annotations

from collections.abc import Iterator

from gradscope.records import Measurement, MisdirectedCredit, Misdirection, Severity, ShortTraining
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import names_of, number

_ERRORS = frozenset(
    {
        Misdirection.ONLY_FILLERS,
        Misdirection.AVERAGED,
        Misdirection.EVERY_CHOICE,
        Misdirection.OTHER_ROWS,
    }
)


@rule("misdirected-credit", severity=Severity.ERROR, uses=("training",), single_seed_suffices=True)
def misdirected_credit(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    del limits
    for found in measurement.objective.misdirected:
        message, remedy = _said(found)
        evidence: dict[str, float | int | str] = {"kind": found.kind.value}
        if found.count:
            evidence["count"] = found.count
        if found.share is not None:
            evidence["share"] = found.share
        if found.discount is not None:
            evidence["discount"] = found.discount
        if found.kind is Misdirection.DESCENDED and training is not None and climbs(training):
            continue
        if found.name:
            evidence["name"] = found.name
        yield Hit(
            message=message,
            remedy=remedy,
            evidence=evidence,
            layer=found.layers[0] if found.layers else None,
            source=found.source,
            severity=Severity.ERROR if found.kind in _ERRORS else Severity.WARNING,
        )


def climbs(training: ShortTraining) -> bool:
    """Whether the optimizer of the file goes up the gradient: the loss is what it makes large."""
    told = [leaf.ascent for leaf in training.leaves if leaf.ascent is not None]
    return training.own and bool(told) and all(each > 0 for each in told)


def _said(found: MisdirectedCredit) -> tuple[str, str]:
    return _of_labels(found) or _of_rewards(found) or _of_terms(found)


def _of_rewards(found: MisdirectedCredit) -> tuple[str, str] | None:
    of = names_of(found.layers) if found.layers else ""
    if found.kind is Misdirection.UNENDED:
        return (
            f"A value{_by(of)} is drawn to a reward and {number(found.discount or 0.0)} times the next value "
            f"in every row, and the loss does not read `{found.name}` of the batch: zeros and ones, "
            f"{found.count:,} ({found.share or 0.0:.1%}) of them ones. If they say where episodes end, what "
            "comes after an end, as another episode, counts for the steps before it.",
            f"End the sum there: `reward + discount * (1 - {found.name}) * next_value`, if 1 is an end and "
            "no mere time limit.",
        )
    if found.kind is Misdirection.PAST:
        return (
            f"Log-probabilities{_by(of)} are weighed by sums of `{found.name}` from the first of "
            f"{found.count:,} steps on, with {number(found.discount or 0.0)} times the sum so far at each: "
            "an action is credited with the rewards before it, which it cannot change, and not with those "
            "after it.",
            "Add up from the last step back: `jax.lax.scan(..., reverse=True)`.",
        )
    if found.kind is Misdirection.DESCENDED:
        return (
            f"The loss grows with log-probabilities{_by(of)} times `{found.name}`: each step makes those "
            "choices less likely whose number is above 0, and the others more likely. If it is to be large, "
            "as a reward is, the policy learns to avoid it.",
            f"Turn the sign: `-jnp.mean({found.name} * log_prob)`.",
        )
    return None


def _of_labels(found: MisdirectedCredit) -> tuple[str, str] | None:
    kind, share = found.kind, f"{found.share or 0.0:.0%}"
    if kind is Misdirection.ONLY_FILLERS:
        return (
            "Of the labels only those count that repeat one value where sequences end or begin, as fillers "
            f"do ({share} of all): with others in the place of the other labels the loss is the same. A mask "
            "of the loss that is meant to leave fillers out is upside down.",
            "Turn the mask of the loss over if it is meant to leave fillers out: `mask = labels != filler`.",
        )
    if kind is Misdirection.FILLERS:
        return (
            f"{share} of the labels repeat one value where sequences end or begin, as fillers do, and the "
            "loss counts them: with others in their place it changes. Most of what it says is where a "
            "sequence ends.",
            "Leave fillers out: `jnp.sum(loss * mask) / jnp.sum(mask)` with `mask = labels != filler`.",
        )
    if kind is Misdirection.NEGATIVE:
        return (
            f"{found.count} labels ({share}) are below 0 and count: JAX takes them as classes from the end, "
            "-1 as the last one. With another class in their place the loss changes.",
            "Leave them out: `jnp.sum(loss * (labels >= 0)) / jnp.sum(labels >= 0)`.",
        )
    return None


def _of_terms(found: MisdirectedCredit) -> tuple[str, str]:
    kind, of = found.kind, names_of(found.layers) if found.layers else ""
    if kind is Misdirection.TARGET:
        return (
            f"A value of the network is compared with a target that holds its own value{_by(of)}, and the "
            "gradient flows through both: what is in the target changes, too, so that the target comes true.",
            "Hold the target: `jax.lax.stop_gradient(rewards + discount * next_values)`.",
        )
    if kind is Misdirection.BASELINE:
        return (
            "A gradient flows through the advantage that this product weighs log-probabilities with: it "
            f"changes the values{_by(of)} in it, which are trained to predict returns in another term, so "
            "that what was done looks better or worse.",
            "Hold the advantage: `jax.lax.stop_gradient(returns - values)`.",
        )
    if kind is Misdirection.AVERAGED:
        return (
            f"A value{_by(of)} is reduced over {found.count} rows before it is multiplied by the number of "
            f"each of them: only the sum of the {found.count} numbers counts, and not which row has which.",
            "Multiply row by row first, and take the mean or the sum of the products: `jnp.mean(a * b)`.",
        )
    if kind is Misdirection.SUMMED:
        return (
            f"A sum over {found.count} rows{_by(of)} is added to a value of each of them: in the mean over "
            f"rows it counts {found.count} times as much as if each row had its own part of it.",
            "Sum over the axis of the features alone: `jnp.sum(x, axis=-1)`. Where each row has one number, "
            "leave the sum out.",
        )
    if kind is Misdirection.EVERY_CHOICE:
        return (
            f"The log-probabilities of all {found.count} choices{_by(of)} are weighed alike in each row: no "
            "choice is favoured over another, whatever was chosen or labelled, and the gradient only makes "
            "all of them more or less alike.",
            "Take that of the choice: `jnp.take_along_axis(log_p, choice[:, None], axis=-1)[:, 0]`, or "
            "multiply by `jax.nn.one_hot(choice, classes)`.",
        )
    if kind is Misdirection.OFFSET:
        return (
            f"`stop_gradient` blocks every path from {of} to the loss, and what is left to train is only "
            "added: no number of the batch multiplies it, and nothing that depends on an input is learned.",
            "Remove this `stop_gradient` if the network behind it is meant to learn.",
        )
    if kind is Misdirection.OTHER_ROWS:
        return (
            "Predictions meet the labels of other examples: with one example replaced, the predictions that "
            f"change are not those that its labels are compared with. The {found.count} examples and the "
            "places in them are flattened in one order on one side, and in the other order on the other.",
            "Bring both into one order before they are flattened: `jnp.swapaxes(logits, 0, 1)`.",
        )
    if kind is Misdirection.CLIP:
        return (
            "Of the gain with the ratio as it is and with the ratio clipped the larger one counts: a ratio "
            "is clipped where that does not hold it back, and is not where it would.",
            "Take the smaller gain and turn its sign after that: `-jnp.minimum(ratio * a, clipped * a)`.",
        )
    return (
        f"The loss falls as the entropy of the choices{_by(of)} falls, beside log-probabilities that are "
        "multiplied by numbers of both signs: a policy would be made more certain from the first step on.",
        "Subtract the entropy from the loss: `policy_loss - coefficient * entropy`.",
    )


def _by(of: str) -> str:
    return f" ({of})" if of else ""
