"""Records as values that JSON has, and back: the annotations of the records are the schema.

A field added to a record is written and read without a change here.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

DIGITS = 6
"""Significant digits of every number that is written."""

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Mismatch(Exception):
    """The JSON is well formed and something else than the record; the text says where."""


def encode(value: Any) -> Any:
    """Floats are rounded to `DIGITS`, and the non-finite ones become strings: JSON has none."""
    if isinstance(value, float):
        return _encode_float(value)
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, tuple):
        return [encode(item) for item in value]
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def _encode_float(value: float) -> float | str:
    if math.isfinite(value):
        return float(f"{value:.{DIGITS}g}")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


Decoder = Callable[[Any, str], Any]


@cache
def decoder(kind: Any) -> Decoder:
    """How to read a value annotated as `kind`: the records themselves are the schema."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _read_union(arguments)
    if origin is tuple:
        return _read_tuple(decoder(arguments[0]))
    if origin is not None and issubclass(origin, Mapping):
        return _read_mapping(decoder(arguments[1]))
    if dataclasses.is_dataclass(kind):
        return _read_record(kind)
    return _read_float if kind is float else _read_exactly(kind)


def _read_union(members: tuple[Any, ...]) -> Decoder:
    if type(None) in members:
        inner = decoder(members[0] if members[1] is type(None) else members[1])
        return lambda value, where: None if value is None else inner(value, where)

    def number(value: Any, where: str) -> Any:
        if isinstance(value, str):
            return _NON_FINITE.get(value, value)
        if isinstance(value, int | float):
            return value
        raise Mismatch(f'"{where}" is neither a number nor a text')

    return number


def _read_tuple(inner: Decoder) -> Decoder:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, list):
            raise Mismatch(f'"{where}" is not a list')
        return tuple(inner(item, f"{where}[{index}]") for index, item in enumerate(value))

    return read


def _read_mapping(inner: Decoder) -> Decoder:
    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(f'"{where}" is not an object')
        return {key: inner(item, f"{where}.{key}") for key, item in value.items()}

    return read


def _read_record(kind: Any) -> Decoder:
    @cache
    def fields() -> list[tuple[str, bool, Decoder]]:
        """Found when the first one is read: a run has few kinds of records."""
        hints = get_type_hints(kind)
        return [(f.name, _has_default(f), decoder(hints[f.name])) for f in dataclasses.fields(kind)]

    def read(value: Any, where: str) -> Any:
        if not isinstance(value, dict):
            raise Mismatch(f'"{where}" is not an object')
        found = {}
        for name, optional, decode in fields():
            if name in value:
                found[name] = decode(value[name], f"{where}.{name}")
            elif not optional:
                raise Mismatch(f'"{where}.{name}" is missing')
        return kind(**found)

    return read


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _read_float(value: Any, where: str) -> float:
    if isinstance(value, str) and value in _NON_FINITE:
        return _NON_FINITE[value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise Mismatch(f'"{where}" is not a number')


def _read_exactly(kind: Any) -> Decoder:
    def read(value: Any, where: str) -> Any:
        if issubclass(kind, enum.Enum) and isinstance(value, str):
            return kind(value)
        if type(value) is not kind:
            raise Mismatch(f'"{where}" is not of type {kind.__name__}')
        return value

    return read
