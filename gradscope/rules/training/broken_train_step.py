"""The training step that your file writes does not train the parameters, or moves them the wrong way.

## What it does
Runs `train_step` of the file, by whatever usual name it goes (`update`, `make_step`, ...), as a loop would,
and reports a step that gives no parameters back, gives back the very ones that it was given, climbs the
gradient, or is so long or so short that the loss does not fall.

## Why is this bad
Arrays of JAX do not change in place. What is computed and not returned, or returned and not kept, is lost
without a warning, while the loss that is printed looks right. A sign or a factor that is wrong in an update
written by hand is not in the gradient, so that nothing else sees it.

## How it is measured
The step is traced as a program of what goes from step to step: parameters or model, the state of an
optimizer, running averages. Whether a parameter comes back as it came is read from that program: its result
is the variable that came in. Then the step runs as often as those of the short training, on the same batches,
and what the first one adds is held against the gradient of `loss_fn` by its cosine. Where the loss of these
batches does not fall, five times as many steps are made, and the same once more with what each step adds
turned round, or a tenth, a hundredth, a thousandth as long; where it falls by less than a twentieth of what
the optimizer of the short training reaches, up to 100,000 times as long. The loop does not run: its text is
read, for calls of the step with parameters to which no statement of the loop gives another value.

## Limits
`cosine = 0.05`: below it with the other sign a step climbs. Steps of SGD have 1, those of Adam 0.4 to 0.6 in
the programs that were looked at. That longer or shorter steps are at fault is said only where such steps
train, and the loss trains with the optimizer of the short training as well. A step whose length grows is
warming up: nothing is said. Source: measured over Optax, Equinox, Flax Linen and NNX.

It is an error where nothing comes back, where everything comes back as it came, and where the turned or
shortened steps train after a hundred steps that do not. It is a warning where a loop gives the step the same
parameters again: one that measures its speed does so, and nothing is said where any other call keeps them. It
is a note where only some parameters come back as they came, which may be frozen on purpose.

## Example
    def train_step(params, opt_state, batch):
        loss, grads = jax.value_and_grad(loss_fn)(params, batch)
        updates, opt_state = optimizer.update(grads, opt_state, params)
        optax.apply_updates(params, updates)          # a new tree, thrown away
        return params, opt_state, loss

Use instead:

        params = optax.apply_updates(params, updates)

## What it does not say
What else the loop does. A step that cannot be called with what the file defines, or that cannot be traced, is
listed as not judged, with the reason.

## Source
JAX documentation, "pure functions" and "in-place updates"; Flax and Equinox issue threads on models that do
not change; Humbatova et al., Taxonomy of Real Faults in Deep Learning Systems (2020), "wrong weights update".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gradscope.records import Measurement, OwnTrainStep, SameParameters, Severity, ShortTraining, SteppedLeaf
from gradscope.rules.base import Hit, Limits, rule
from gradscope.rules.words import count, names_of, number

RETURN = (
    "Return what the update made, and keep it in the loop: `return params, opt_state, loss`, and "
    "`params, opt_state, loss = {name}(...)`."
)
APPLY = (
    "Keep the result of the update, which changes nothing in place: "
    "`params = optax.apply_updates(params, updates)`, `state = state.apply_gradients(grads=grads)`, "
    "`optimizer.update(model, grads)` of NNX; and return that."
)
DESCEND = "Subtract the gradient: `params - learning_rate * gradient`."
EACH = "Update every leaf, as `jax.tree.map` or an optimizer does."
ERROR_STEPS = 100


@rule("broken-train-step", severity=Severity.ERROR, uses=("training",), cosine=0.05)
def broken_train_step(
    measurement: Measurement, training: ShortTraining | None, limits: Limits
) -> Iterator[Hit]:
    step = training.own_step if training is not None else None
    if step is None or not any(leaf.gradient for leaf in step.leaves):
        return
    alive = [leaf for leaf in step.leaves if leaf.gradient]
    back = step.handed_back
    if not step.returned:
        text = (
            f"`{step.name}` gives back neither the parameters that it is given nor anything of their form: "
            "what it computes for them is lost when it returns."
        )
        yield _hit(step, alive, text, RETURN.format(name=step.name), Severity.ERROR)
    elif len(back) == len(alive):
        text = (
            f"`{step.name}` gives back every parameter as it came: it returns the very arrays that it is "
            f"given. {_with_gradient(alive)}"
        )
        yield _thrown_away(measurement, step, _hit(step, alive, text, APPLY, Severity.ERROR))
    elif step.loop is not None:
        yield _loop(step, step.loop, alive)
    else:
        if back:
            yield _hit(step, back, _partly(step, len(alive)), EACH, Severity.NOTE)
        yield from _directed(step, alive, limits["cosine"])


def _thrown_away(measurement: Measurement, step: OwnTrainStep, hit: Hit) -> Hit:
    """With the line of the step that throws an update away, where there is one."""
    thrown = [each for each in measurement.structure.discarded if each.is_an_update]
    found = next((each for each in thrown if step.holds(each.source)), None)
    if found is None:
        return hit
    text = f"{hit.message} The result of `{found.function}(...)` is thrown away."
    return replace(hit, message=text, source=found.source)


def _loop(step: OwnTrainStep, loop: SameParameters, alive: Sequence[SteppedLeaf]) -> Hit:
    text = (
        f"This loop calls `{step.name}` with the same `{loop.name}` again and again: no statement in it "
        f"gives `{loop.name}` another value, so that every step begins where the first one did."
    )
    kept = f"{loop.name}, ... = {step.name}({loop.name}, ...)"
    remedy = f"Keep what it gives back under that name: `{kept}`."
    return replace(_hit(step, alive, text, remedy, Severity.WARNING), source=loop.source)


def _partly(step: OwnTrainStep, alive: int) -> str:
    back = step.handed_back
    they = "it has" if len(back) == 1 else "they have"
    return (
        f"`{step.name}` gives back {_parameters(back)} as they came, although {they} a gradient, and "
        f"changes {count(alive - len(back), 'other')}. If they are frozen on purpose, ignore this."
    )


def _directed(step: OwnTrainStep, alive: Sequence[SteppedLeaf], limit: float) -> Iterator[Hit]:
    cure = step.cure
    if cure is None or step.cosine is None or not step.end_optimizer < step.start:
        return
    grave = Severity.ERROR if step.steps >= ERROR_STEPS else Severity.WARNING
    tried = f"goes from {number(step.start)} to {number(cure.end)}"
    scaled = f"With each step {number(cure.factor)} times as long it {tried}."
    if cure.factor < 0 and step.cosine < -limit:
        text = (
            f"`{step.name}` moves the parameters up the gradient of the loss: the cosine of its first step "
            f"with it is {number(-step.cosine)}. {_course(step)} With each step turned round it {tried}."
        )
        yield _hit(step, alive, text, DESCEND, grave)
    elif 0 < cure.factor < 1:
        text = f"The steps of `{step.name}` are too long. {_course(step)} {scaled}"
        remedy = (
            f"Multiply its learning rate by {number(cure.factor)}; or look for what makes its steps long: a "
            "gradient summed over the examples in place of their mean, an update that is applied twice."
        )
        yield _hit(step, alive, text, remedy, grave)
    elif cure.factor > 1:
        text = f"The steps of `{step.name}` are too short to learn much. {_course(step)} {scaled}"
        remedy = f"Raise its learning rate, up to {number(cure.factor)} times."
        yield _hit(step, alive, text, remedy, Severity.WARNING)


def _course(step: OwnTrainStep) -> str:
    of = "the batch" if step.batches == 1 else f"{step.batches} batches"
    steps, start, end = count(step.steps, "step"), number(step.start), number(step.end)
    return f"In {steps} it takes the loss of {of} from {start} to {end}."


def _with_gradient(leaves: Sequence[SteppedLeaf]) -> str:
    return "It has a gradient." if len(leaves) == 1 else f"{len(leaves)} of them have a gradient."


def _parameters(leaves: Sequence[SteppedLeaf]) -> str:
    return f"{count(len(leaves), 'parameter')} ({names_of([leaf.name for leaf in leaves])})"


def _hit(
    step: OwnTrainStep, leaves: Sequence[SteppedLeaf], message: str, remedy: str, severity: Severity
) -> Hit:
    return Hit(
        message=message,
        remedy=remedy,
        evidence={
            "cosine": step.cosine or 0.0,
            "steps": step.steps,
            "loss_before": step.start,
            "loss_after": step.end,
            "loss_after_optimizer": step.end_optimizer,
        },
        source=step.source,
        severity=severity,
        layers=tuple(dict.fromkeys(leaf.layer for leaf in leaves)),
    )
