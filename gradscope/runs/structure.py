"""What the program does to rows and places, and short trainings of it with that done otherwise."""

from __future__ import annotations

from functools import partial

from gradscope.load.usercode.fault import Looks
from gradscope.measure.messages import returned_messages
from gradscope.measure.reshapes import reshaped_axes
from gradscope.records import Structure, TriedVariant
from gradscope.records.progress import Progress
from gradscope.runs.preparing import Prepared
from gradscope.trace.domains.objective.axes import shape_of
from gradscope.trace.domains.reshapes import Suspect, suspects
from gradscope.training.short import Trained
from gradscope.training.variants import Functions, tried_variant


def structure_of(prepared: Prepared, found: Trained | None, looks: Looks, progress: Progress) -> Structure:
    """Nothing is trained where nothing calls for it."""

    def tried(what: str, functions: Functions) -> TriedVariant | None:
        if found is None or not functions:
            return None
        progress(f"training with {what}")
        return tried_variant(found.trainer, functions, found.record.steps)

    program = prepared.program
    reshapes = looks.listed("reshapes", lambda: suspects(program, prepared.batches[0]))
    return Structure(
        returned_messages=tuple(
            looks.listed("messages", lambda: returned_messages(program, prepared.batches[0], prepared.inputs))
        ),
        reshapes=tuple(looks.listed("reshapes", lambda: reshaped_axes(program, reshapes))),
        transposed=looks.taken(
            "exchanged axes", lambda: tried("axes exchanged", _transposing(reshapes)), None
        ),
    )


def _transposing(reshapes: list[Suspect]) -> Functions:
    return {id(each.eqn): partial(each.exchange, result=shape_of(each.eqn.outvars[0])) for each in reshapes}
