"""How far the gradients of replicas agree, as every format for people words it."""

from __future__ import annotations

from gradscope.records import ReplicaGradients
from gradscope.report.shared import units
from gradscope.report.shared.glyphs import visible
from gradscope.report.shared.table import Column, SmallTable

WHOLE = "all layers"
MEANING = (
    "The cosine of the gradient of one replica's rows with the mean of the others', and the share of its "
    "square that replicas have in common."
)


def replica_table(found: ReplicaGradients) -> SmallTable:
    layers = found.layers
    whole = None if found.noise is None else found.noise.signal
    return SmallTable(
        title="Replicas",
        head="layer",
        names=[*(layer.layer for layer in layers), WHOLE],
        columns=[
            Column(
                ("", "cosine"), 0, [units.cell(each) for each in (*(x.cosine for x in layers), found.cosine)]
            ),
            Column(
                ("signal", "share"),
                1,
                [
                    units.cell(each) if each is not None else ""
                    for each in (*(x.signal for x in layers), whole)
                ],
            ),
        ],
        urgency=[*(2.0 if each.cosine is None else each.cosine for each in layers), -2.0],
        meaning=MEANING,
        heading="agreement of replicas: the cosine of one's gradient with the mean of the others'",
        said=" ".join(replica_sentences(found)),
    )


def replica_sentences(found: ReplicaGradients) -> list[str]:
    over = f" (over {', '.join(map(visible, found.axes))})" if found.axes else ""
    of = f", on {found.batches} batches" if found.batches > 1 else ""
    said = [
        f"Of {found.replicas} replicas with {units.counted(found.rows, 'row')} each{over}, the cosine of the "
        f"gradient of one with the mean of the others is {units.cell(found.cosine)} on average{of}."
    ]
    if not found.averaged:
        return [
            *said,
            "Their mean is not the gradient of the whole batch: it is off by "
            f"{units.share(found.apart)} of the size of a replica's, as where statistics of a batch are "
            "taken, or the mean over elements that count. So no noise of the gradient follows from them.",
        ]
    noise = found.noise
    if noise is None or noise.times is None:
        return [*said, "No common part could be measured."]
    rows = "" if noise.scale is None else f" of about {units.number(noise.scale)} rows"
    said.append(
        f"Signal and noise would be equal in a batch{rows}, the gradient noise scale; this one has "
        f"{units.count(found.replicas * found.rows)}."
    )
    if found.drawn:
        said.append("The random numbers that the loss draws are averaged over the places of the batch.")
    return said
