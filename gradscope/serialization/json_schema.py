"""The JSON Schema of `--format json`, made from the records: their annotations are what `codec` writes by.

Descriptions are the docstrings of the records and of their fields, so that nothing is written twice.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import itertools
import json
import textwrap
import types
from collections.abc import Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from gradscope.records import Layer, Measurement, Outcome, Report, Suite, TargetError
from gradscope.serialization.report_json import FORMAT

DRAFT = "https://json-schema.org/draft/2020-12/schema"
NUMBER = {
    "description": "Six significant digits; what JSON has no number for is a string.",
    "anyOf": [{"type": "number"}, {"enum": ["NaN", "Infinity", "-Infinity"]}],
}
PLAIN: dict[Any, dict[str, Any]] = {
    float: {"$ref": "#/$defs/number"},
    int: {"type": "integer"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
}
Schema = dict[str, Any]
TEXTS: Schema = {"type": "array", "items": {"type": "string"}}


def schema() -> Schema:
    """Of one report, and of a run of several targets: a file with `targets` is the second."""
    defs: Schema = {"number": NUMBER}
    _record(Report, defs)
    _record(TargetError, defs)
    _record(Outcome, defs, leave_out={"policy"})
    added: dict[type, Schema] = {
        Report: {
            "format": {"const": FORMAT},
            "verdict": {"description": _doc(Report.verdict), "enum": ["healthy", "sick"]},
            "unexamined": {"description": _doc(Report.unexamined), **TEXTS},
        },
        Measurement: {"gradient_norm": _number(Measurement.gradient_norm)},
        Layer: {"gradient_to_weight": _number(Layer.gradient_to_weight)},
        Outcome: {"fail_on": TEXTS},
    }
    for kind, properties in added.items():
        described = defs[kind.__name__]
        described["properties"] = {**properties, **described["properties"]}
        described["required"] = list(described["properties"])
    # Only where the report stands alone: among several it is the target that has it.
    defs["Report"]["properties"]["fail_on"] = TEXTS
    defs["Suite"] = _suite()
    return {
        "$schema": DRAFT,
        "title": "What gradscope writes with --format json and --save",
        "if": {"required": ["targets"]},
        "then": {"$ref": "#/$defs/Suite"},
        "else": {"$ref": "#/$defs/Report"},
        "$defs": dict(sorted(defs.items())),
    }


def dumps() -> str:
    return json.dumps(schema(), indent=1) + "\n"


def _suite() -> Schema:
    properties = {
        "format": {"const": FORMAT},
        "verdict": {"description": _doc(Suite.verdict), "enum": ["healthy", "sick", "not judged"]},
        "targets": {"type": "array", "items": {"$ref": "#/$defs/Outcome"}},
    }
    return {
        "description": _doc(Suite),
        "type": "object",
        "properties": properties,
        "required": list(properties),
    }


def _number(prop: Any) -> Schema:
    return {"description": _doc(prop), **PLAIN[float]}


def _of(kind: Any, defs: Schema) -> Schema:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _union(arguments, defs)
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0], defs)}
    if origin is not None and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _of(arguments[1], defs)}
    if dataclasses.is_dataclass(kind):
        return _record(kind, defs)
    if issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    return dict(PLAIN[kind])


def _union(members: tuple[Any, ...], defs: Schema) -> Schema:
    if type(None) not in members:  # `Number`
        return {"type": ["number", "string"]}
    (inner,) = (member for member in members if member is not type(None))
    return {"anyOf": [_of(inner, defs), {"type": "null"}]}


def _record(kind: Any, defs: Schema, leave_out: set[str] | frozenset[str] = frozenset()) -> Schema:
    """A reference to the record, which is described in `defs` once."""
    name = kind.__name__
    if name not in defs:
        defs[name] = {}  # A record that holds its own kind would not end.
        hints, docs = get_type_hints(kind), _field_docs(kind)
        fields = [field.name for field in dataclasses.fields(kind) if field.name not in leave_out]
        properties = {
            field: {**({"description": docs[field]} if field in docs else {}), **_of(hints[field], defs)}
            for field in fields
        }
        defs[name] = {
            **({"description": _doc(kind)} if _doc(kind) else {}),
            "type": "object",
            "properties": properties,
            "required": fields,
        }
    return {"$ref": f"#/$defs/{name}"}


def _doc(thing: Any) -> str:
    """The first paragraph; none where `dataclass` wrote the signature in its place, or under `-OO`."""
    text = (inspect.getdoc(thing) or "").partition("\n\n")[0]
    written = inspect.isclass(thing) and text.startswith(f"{thing.__name__}(")
    return "" if written else " ".join(text.split())


def _field_docs(kind: type) -> dict[str, str]:
    """The strings below the fields, which only the source has; none where there is no source."""
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except OSError:
        return {}
    (made,) = ast.parse(source).body
    body = made.body if isinstance(made, ast.ClassDef) else []
    return {
        field.target.id: " ".join(text.value.value.split())
        for field, text in itertools.pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
        if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
        if isinstance(text.value.value, str)
    }
