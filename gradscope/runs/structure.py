"""What the program does to rows and places, and short trainings of it with that done otherwise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gradscope.load.model.frameworks.base import code_of, written
from gradscope.load.problem import Problem
from gradscope.load.usercode.discarded import discarded_results
from gradscope.load.usercode.fault import Looks
from gradscope.measure.lone_elements import lone_normalizations
from gradscope.measure.messages import Returned, returned_messages
from gradscope.measure.mirrored import mirrored_masks
from gradscope.measure.normalized_places import normalizations, normalized_places
from gradscope.measure.order import Entrance, order_blind
from gradscope.measure.reshapes import reshaped_axes
from gradscope.measure.untouched_statistics import untouched_records, untouched_statistics
from gradscope.records import Attention, DiscardedResult, Structure, TriedVariant, hides_the_past
from gradscope.records.progress import Progress
from gradscope.runs.preparing import Prepared
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.reshapes import Suspect, suspects
from gradscope.trace.jaxprs import Body
from gradscope.trace.jaxprs.rewriting import with_functions
from gradscope.trace.program import Program
from gradscope.trace.spliced import with_operands
from gradscope.training.how_many import steps_of_trial
from gradscope.training.short import Trained
from gradscope.training.trials import USUAL_STEPS
from gradscope.training.variants import tried_variant

Functions = Mapping[int, Callable[..., Any]]
"""In the place of equations, by the `id` of each."""


def structure_of(
    prepared: Prepared,
    found: Trained | None,
    loss: float,
    attentions: Sequence[Attention],
    looks: Looks,
    progress: Progress,
) -> Structure:
    """Nothing is trained where nothing calls for it; `loss` is that of the first batch."""
    program = prepared.program

    def trained(what: str, make: Callable[[], Body]) -> TriedVariant | None:
        if found is None:
            return None
        progress(f"training with {what}")
        return looks.taken(what, lambda: tried_variant(found.trainer, make(), found.record.steps), None)

    def tried(what: str, functions: Functions) -> TriedVariant | None:
        return trained(what, lambda: with_functions(program.body, functions)) if functions else None

    reshapes = looks.listed("reshapes", lambda: suspects(program, prepared.batches[0]))
    hidden = hides_the_past(attentions)
    no_masks: dict[int, Callable[..., Any]] = {}
    masks = looks.taken("masks", lambda: mirrored_masks(prepared.attentions), no_masks) if hidden else {}
    blind = looks.taken("order of places", lambda: _order_blind(prepared, loss, attentions), None)
    norms = looks.listed("normalizations", lambda: normalizations(program))
    layer_norms = {key: each for norm in norms for key, each in norm.functions.items()}
    running = looks.listed("running statistics", lambda: untouched_statistics(program, prepared.inputs[0]))
    over_batch = {key: each for one in running for key, each in one.functions.items()}
    returned = looks.listed(
        "messages", lambda: returned_messages(program, prepared.batches[0], prepared.inputs)
    )
    mirrored = tried("masks turned over", masks)
    return Structure(
        discarded=tuple(looks.listed("calls without an effect", lambda: _discarded(prepared.problem))),
        returned_messages=tuple(each.record for each in returned),
        received=_received(program, returned, trained),
        reshapes=tuple(looks.listed("reshapes", lambda: reshaped_axes(program, reshapes))),
        transposed=tried("axes exchanged", _transposing(reshapes)),
        mirrored=mirrored,
        not_mirrored=_not_mirrored(found, masks) if hidden and mirrored is None else "",
        order_blind=None if blind is None else blind.record,
        placed=tried("positions", {} if blind is None else blind.functions),
        normalized=tuple(looks.listed("normalizations", lambda: normalized_places(norms))),
        over_features=tried("features normalized", layer_norms),
        lone=tuple(
            looks.listed(
                "normalizations of one element", lambda: lone_normalizations(program, prepared.batches[0])
            )
        ),
        untouched=untouched_records(program, running),
        over_batch=tried("statistics of the batch", over_batch),
    )


def _discarded(problem: Problem) -> list[DiscardedResult]:
    """In the files of the loss and of the training step; none in a session, which has no file."""
    step = problem.train_step
    found: dict[str, list[DiscardedResult]] = {}
    for function in (problem.loss_fn, *([] if step is None else [step.function])):
        code = code_of(function)
        file = "" if code is None else code.co_filename
        if file not in found and Path(file).is_file():
            found[file] = discarded_results(written(function).__globals__, file)
    return [each for results in found.values() for each in results]


def _not_mirrored(found: Trained | None, masks: Functions) -> str:
    if found is None:
        return "no short training was run"
    if not masks:
        return "the mask is no array over both queries and keys that could be turned over"
    if steps_of_trial(found.trainer.flow.program, found.record.steps) is None:
        return f"to compare takes {USUAL_STEPS} steps, more than asked for or than a model of this size gets"
    return "the training with it failed"


def _received(
    program: Program, returned: Sequence[Returned], trained: Callable[..., TriedVariant | None]
) -> TriedVariant | None:
    """With the messages of all sums sent to their receivers, where each has some."""
    receivers = [each.receivers for each in returned if each.receivers is not None]
    if not returned or len(receivers) < len(returned):
        return None

    others = [(each.sum.eqn, 1, receiver) for each, receiver in zip(returned, receivers, strict=True)]
    return trained("messages to their receivers", lambda: with_operands(program.body, others))


def _transposing(reshapes: list[Suspect]) -> Functions:
    return {id(each.eqn): partial(each.exchange, result=shape_of(each.eqn.outvars[0])) for each in reshapes}


def _order_blind(prepared: Prepared, loss: float, attentions: Sequence[Attention]) -> Entrance | None:
    batch, inputs = prepared.batches[0], prepared.inputs[0]
    return order_blind(prepared.program, prepared.flow, batch, inputs, loss, attentions)
