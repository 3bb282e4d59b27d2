"""`gradscope schema`: the JSON Schema of what `--format json` and `--save` write."""

from __future__ import annotations

from gradscope.cli import screen
from gradscope.cli.options import examples

EPILOG = examples(
    "gradscope schema > report.schema.json",
    "gradscope schema | less",
    "gradscope schema | python -m json.tool --compact",
)


def schema() -> None:
    """Print the JSON Schema of `--format json`."""
    from gradscope.serialization.json_schema import dumps

    screen.emit(dumps())
