"""What the program does to rows and places, and short trainings of it with that done otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from gradscope.load.usercode.fault import Looks
from gradscope.measure.messages import returned_messages
from gradscope.measure.mirrored import mirrored_masks
from gradscope.measure.normalized_places import normalizations, normalized_places
from gradscope.measure.order import Entrance, order_blind
from gradscope.measure.reshapes import reshaped_axes
from gradscope.records import Attention, Structure, TriedVariant, hides_the_past
from gradscope.records.progress import Progress
from gradscope.runs.preparing import Prepared
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.reshapes import Suspect, suspects
from gradscope.training.short import Trained
from gradscope.training.variants import Functions, tried_variant


def structure_of(
    prepared: Prepared,
    found: Trained | None,
    attentions: Sequence[Attention],
    looks: Looks,
    progress: Progress,
) -> Structure:
    """Nothing is trained where nothing calls for it."""

    def tried(what: str, functions: Functions) -> TriedVariant | None:
        if found is None or not functions:
            return None
        progress(f"training with {what}")
        return tried_variant(found.trainer, functions, found.record.steps)

    program = prepared.program
    reshapes = looks.listed("reshapes", lambda: suspects(program, prepared.batches[0]))
    hidden = hides_the_past(attentions)
    masks = mirrored_masks(prepared.attentions) if hidden else {}
    blind = looks.taken("order of places", lambda: _order_blind(prepared, attentions), None)
    norms = looks.listed("normalizations", lambda: normalizations(program))
    layer_norms = {key: each for norm in norms for key, each in norm.functions.items()}
    return Structure(
        returned_messages=tuple(
            looks.listed("messages", lambda: returned_messages(program, prepared.batches[0], prepared.inputs))
        ),
        reshapes=tuple(looks.listed("reshapes", lambda: reshaped_axes(program, reshapes))),
        transposed=looks.taken(
            "exchanged axes", lambda: tried("axes exchanged", _transposing(reshapes)), None
        ),
        mirrored=looks.taken("mirrored masks", lambda: tried("mirrored masks", masks), None),
        order_blind=None if blind is None else blind.record,
        placed=looks.taken(
            "positions", lambda: tried("positions", {} if blind is None else blind.functions), None
        ),
        normalized=normalized_places(norms),
        over_features=looks.taken("normalizations", lambda: tried("features normalized", layer_norms), None),
    )


def _transposing(reshapes: list[Suspect]) -> Functions:
    return {id(each.eqn): partial(each.exchange, result=shape_of(each.eqn.outvars[0])) for each in reshapes}


def _order_blind(prepared: Prepared, attentions: Sequence[Attention]) -> Entrance | None:
    batch, inputs = prepared.batches[0], prepared.inputs[0]
    return order_blind(prepared.program, prepared.flow, batch, inputs, attentions)
