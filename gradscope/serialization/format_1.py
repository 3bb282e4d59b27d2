"""Reports and suites of format 1 as format 2 has them.

There one record held what `check`, `verify`, `compare-optimizers` and `find-lr` measured, and a remark was
an entry of `skipped` that skipped nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradscope.serialization.codec import Mismatch

VERSION = 1
NOTE = "note"
"""`skipped[].what` of a remark."""
STATUS = {"known": "unchanged"}

Object = Mapping[str, Any]


def report(data: Object) -> dict[str, Any]:
    skipped = [entry for entry in _objects(data, "skipped") if entry.get("what") != NOTE]
    unseen = [entry for entry in skipped if entry.get("unseen")]
    verified = bool(data.get("gradients")) or data.get("transposition") is not None
    trained = data.get("optimizers") is not None or data.get("rate_search") is not None
    return {
        **data,
        "format": 2,
        "flow": _flow(data, unseen) if data.get("layers") or not (verified or trained) else None,
        "gradients": {**data, "leaves": data.get("gradients", [])} if verified else None,
        "optimizers": _comparison(data.get("optimizers")),
        "rates": data.get("rate_search"),
        "findings": _findings(data, "findings"),
        "notes": [entry.get("reason") for entry in _objects(data, "skipped") if entry.get("what") == NOTE],
        "skipped": [entry for entry in skipped if not entry.get("unseen")],
        "baseline": _baseline(data.get("against")),
        "minority_findings": _findings(data, "near"),
    }


def target(data: Object) -> dict[str, Any]:
    """One of the `targets` of a suite."""
    inner, error = data.get("report"), data.get("not_judged")
    return {
        **data,
        "report": report(inner) if isinstance(inner, Mapping) else inner,
        "error": {**error, "kind": error.get("trouble")} if isinstance(error, Mapping) else error,
    }


def _flow(data: Object, unseen: list[Object]) -> dict[str, Any]:
    return {
        **data,
        "layers": [_looked_ahead(layer) for layer in _objects(data, "layers")],
        "parameters": [_looked_ahead(parameter) for parameter in _objects(data, "parameters")],
        "unseen": unseen,
        "custom_rules": None,
    }


def _looked_ahead(record: Object) -> dict[str, Any]:
    return {**record, "nonzero_after_steps": record.get("alive_later")}


def _comparison(data: Any) -> Any:
    if not isinstance(data, Mapping):
        return data
    rows = _objects(data, "contestants")
    return {**data, "contestants": [{**row, "summary": row.get("suits")} for row in rows]}


def _findings(data: Object, key: str) -> list[dict[str, Any]]:
    return [
        {**finding, "baseline_status": STATUS.get(str(finding.get("standing")), finding.get("standing"))}
        for finding in _objects(data, key)
    ]


def _baseline(data: Any) -> Any:
    return {**data, "file": data.get("baseline")} if isinstance(data, Mapping) else data


def _objects(data: Object, key: str) -> list[Object]:
    found = data.get(key, [])
    if not (isinstance(found, list) and all(isinstance(entry, Mapping) for entry in found)):
        raise Mismatch(f'"{key}" is not a list of objects')
    return found
