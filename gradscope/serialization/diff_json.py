"""What changed between two runs as JSON."""

from __future__ import annotations

import json
from typing import Any

from gradscope.records.diff import Change, Changes, SuiteChanges
from gradscope.serialization.codec import encode
from gradscope.serialization.report_json import FORMAT

NUMBERS = ("gradient_rms", "delta_rms", "activation_rms", "weight_rms")


def dumps(found: SuiteChanges) -> str:
    """One object where one target is compared with one, else the object around those of all targets."""
    each = [to_json(changes) for changes in found.targets]
    whole = {"format": FORMAT, "targets": each, "new": list(found.new), "gone": list(found.gone)}
    return json.dumps(each[0] if found.alone else whole, indent=1, allow_nan=False) + "\n"


def to_json(found: Changes) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "old": encode(found.old),
        "new": encode(found.new),
        "loss": _number(found.loss),
        "gradient_norm": _number(found.gradient_norm),
        "layers": [
            {
                "name": layer.name,
                "presence": layer.presence.value,
                **{name: _number(getattr(layer, name)) for name in NUMBERS},
            }
            for layer in found.layers
        ],
        "findings": {
            "new": encode(found.new_findings),
            "gone": encode(found.gone_findings),
            "same": encode(found.same_findings),
        },
    }


def _number(change: Change) -> dict[str, Any]:
    return {"old": encode(change.old), "new": encode(change.new), "factor": encode(change.factor)}
