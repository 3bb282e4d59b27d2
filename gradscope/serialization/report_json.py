"""A report as versioned JSON, and back: what `--save` writes, `--format json` prints and `report` reads.

The file is plain ASCII: names come from a user's model, and an escape sequence or a bidirectional mark in
one of them must not act on the terminal that the JSON is printed to. Numbers carry `encoding.DIGITS`
significant digits, so `loads(dumps(report)) == rounded(report)`, and every later round trip changes nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from gradscope.errors import GradscopeError
from gradscope.records import Against, Finding, Measurement, Report, Skipped, Timing, Tool
from gradscope.serialization import atomic_write
from gradscope.serialization.codec import Mismatch, decoder, encode

T = TypeVar("T")
FORMAT = 1
"""Raised when a key changes its meaning or goes away; a new key alone does not raise it."""


def to_json(report: Report) -> dict[str, Any]:
    """The envelope of every `--format json`: only types that JSON has, non-finite numbers as strings."""
    measurement = report.measurement
    body = encode(measurement)
    unseen = body.pop("unseen")
    for layer, encoded in zip(measurement.layers, body["layers"], strict=True):
        encoded["gradient_to_weight"] = encode(layer.gradient_to_weight)
    return {
        "format": FORMAT,
        "tool": encode(report.tool),
        "target": report.target,
        "verdict": report.verdict,
        "loss": body.pop("loss"),
        "gradient_norm": encode(measurement.gradient_norm),
        **body,
        "findings": encode(report.findings),
        "skipped": [{**entry, "unseen": False} for entry in encode(report.skipped)]
        + [{**entry, "unseen": True} for entry in unseen],
        "timing": encode(report.timing),
        "seeds": list(report.seeds),
        "against": encode(report.against),
        "near": encode(report.near),
        "rules": list(report.rules),
    }


def from_json(data: Any) -> Report:
    """The report of an envelope; unknown keys are passed over, as a later gradscope may add some."""
    _check_format(data)
    skipped = _take(data, "skipped", tuple[Skipped, ...])
    marks = [isinstance(entry, dict) and bool(entry.get("unseen")) for entry in data["skipped"]]
    measurement = decoder(Measurement)({**data, "unseen": []}, "the report")
    return Report(
        target=_take(data, "target", str),
        tool=_take(data, "tool", Tool),
        measurement=dataclasses.replace(
            measurement, unseen=tuple(s for s, unseen in zip(skipped, marks, strict=True) if unseen)
        ),
        findings=_take(data, "findings", tuple[Finding, ...]),
        skipped=tuple(s for s, unseen in zip(skipped, marks, strict=True) if not unseen),
        timing=_take(data, "timing", Timing),
        seeds=decoder(tuple[int, ...])(data.get("seeds", [0]), "seeds"),
        against=decoder(Against | None)(data.get("against"), "against"),
        near=decoder(tuple[Finding, ...])(data.get("near", []), "near"),
        rules=decoder(tuple[str, ...])(data.get("rules", []), "rules"),
    )


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


def _check_format(data: Any) -> None:
    if not (isinstance(data, dict) and type(data.get("format")) is int and "layers" in data):
        raise Mismatch('It has no "format" number and "layers"')
    check_version(data)


def check_version(data: Mapping[str, Any]) -> None:
    """Raise where the object is of a format that is not read here."""
    version = data.get("format")
    if version != FORMAT:
        raise GradscopeError(
            f"The report has format {version}, and this gradscope reads format {FORMAT}.",
            why="It was written by another version of gradscope.",
            fix="Read it with that version, or write it again with this one.",
            slug="unknown-format",
        )


def _take(data: Mapping[str, Any], key: str, kind: Any) -> Any:
    if key not in data:
        raise Mismatch(f'"{key}" is missing')
    return decoder(kind)(data[key], key)
