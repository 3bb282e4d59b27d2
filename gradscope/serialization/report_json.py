"""A report as versioned JSON, and back: what `--save` writes, `--format json` prints and `report` reads.

The file is plain ASCII: names come from a user's model, and an escape sequence or a bidirectional mark in
one of them must not act on the terminal that the JSON is printed to. Numbers carry `encoding.DIGITS`
significant digits, so `loads(dumps(report)) == rounded(report)`, and every later round trip changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from gradscope.errors import GradscopeError
from gradscope.records import Report
from gradscope.serialization import atomic_write, format_1
from gradscope.serialization.codec import Mismatch, decoder, encode

T = TypeVar("T")
FORMAT = 2
"""Raised when a key changes its meaning or goes away; a new key alone does not raise it. The format before
is read, too."""


def to_json(report: Report) -> dict[str, Any]:
    """The object of every `--format json`: only types that JSON has, non-finite numbers as strings."""
    body = encode(report)
    if report.flow is not None:
        body["flow"]["gradient_norm"] = encode(report.flow.gradient_norm)
        for layer, encoded in zip(report.flow.layers, body["flow"]["layers"], strict=True):
            encoded["gradient_to_weight"] = encode(layer.gradient_to_weight)
    derived = {"verdict": report.verdict, "unexamined": list(report.unexamined)}
    return {"format": FORMAT, **derived, **body}


def from_json(data: Any) -> Report:
    """The report of an object; unknown keys are passed over, as a later gradscope may add some."""
    if not (isinstance(data, dict) and type(data.get("format")) is int and "target" in data):
        raise Mismatch('It has no "format" number and "target"')
    check_version(data)
    if data["format"] == format_1.VERSION:
        data = format_1.report(data)
    report: Report = decoder(Report)(data, "the report")
    return report


def dumps(report: Report) -> str:
    return json.dumps(to_json(report), indent=1, allow_nan=False) + "\n"


def loads(text: str, name: str = "the report") -> Report:
    """The report in `text`; `name` is what an error calls it."""
    return read(text, name, from_json)


def read(text: str, name: str, decode: Callable[[Any], T]) -> T:
    """What `decode` makes of the JSON in `text`, or the error that says why it is no report."""
    try:
        return decode(json.loads(text, parse_constant=_refuse_constant))
    except (Mismatch, ValueError, RecursionError, OverflowError) as error:
        raise GradscopeError(
            f'"{name}" is not a report of gradscope.',
            why=_reason(text, error),
            fix="Write one with `gradscope check TARGET --save RUN.json`.",
            slug="unreadable-report",
        ) from error


def rounded(report: Report) -> Report:
    """The report as a file would hold it: shown from this one, all formats have the same digits."""
    return from_json(to_json(report))


def load(path: str) -> Report:
    return loads(text_of(path), path)


def text_of(path: str) -> str:
    """The text of a file that should hold a report."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise GradscopeError(
            f'"{path}" cannot be read.', why=f"{_plain(error)}.", slug="unreadable-report"
        ) from error
    except UnicodeDecodeError as error:
        raise GradscopeError(
            f'"{path}" is not a report of gradscope.',
            why="It is not text in UTF-8.",
            fix="Write one with `gradscope check TARGET --save RUN.json`.",
            slug="unreadable-report",
        ) from error


def save(report: Report, path: str) -> None:
    atomic_write.write_whole(path, dumps(report))


def _plain(error: OSError) -> str:
    return error.strerror or type(error).__name__


def _refuse_constant(text: str) -> NoReturn:
    raise Mismatch(f"It holds a bare {text}, which JSON does not have")


def _reason(text: str, error: Exception) -> str:
    if not text.strip():
        return "The file is empty."
    if isinstance(error, json.JSONDecodeError):
        return f"It is not JSON, or was cut off: {error.msg} at line {error.lineno}."
    if isinstance(error, Mismatch):
        return f"{error}."
    return "It holds values that no report has."


def check_version(data: Mapping[str, Any]) -> None:
    """Raise where the object is of a format that is not read here."""
    version = data.get("format")
    if version not in (format_1.VERSION, FORMAT):
        raise GradscopeError(
            f"The report has format {version}, and this gradscope reads {format_1.VERSION} and {FORMAT}.",
            why="It was written by another version of gradscope.",
            fix="Read it with that version, or write it again with this one.",
            slug="unknown-format",
        )
