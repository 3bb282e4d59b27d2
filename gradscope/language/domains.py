"""Which catalogue holds the messages of which files: by the longest beginning of a path named here."""

from __future__ import annotations

from pathlib import Path

from gradscope.language.sources import Message, messages
from gradscope.language.words import FOREIGN, SYSTEM, WORDS

DOMAINS = {
    "words": (),
    "cli": ("cli", "integrations", "processes", "__init__.py", "display.py", "errors.py", "__main__.py"),
    "report": ("report",),
    "rules_network": (
        "rules/activations", "rules/change", "rules/correctness", "rules/devices", "rules/flow",
        "rules/initialization", "rules/no_gradient",
    ),
    "rules_data": ("rules/data_and_loss", "rules/numerics"),
    "rules_training": ("rules",),
    "load": ("load",),
    "optimizers": ("optimizers", "landscape"),
    "verification": ("verification", "nonfinite"),
    "remedies": ("remedies",),
    "runs": ("runs", "peers"),
    "config": ("config", "gate", "serialization", "recording", "changes"),
    "training": ("training", "measure", "blocks", "footprint", "workload"),
    "trace": ("trace", "records"),
}  # fmt: skip
"""A text that several say is in the first catalogue alone."""
SILENT = (
    "templates", "language", "report/ci", "report/json.py", "cli/mcp_tools.py", "rules/pages.py", "xla.py",
    "records/record.py",
)  # fmt: skip
"""What says nothing, or nothing to people: formats for machines are English."""


def domain_of(where: str) -> str | None:
    """The catalogue of a file below `gradscope/`; `None` for one that says nothing to anybody."""
    if where.startswith(SILENT):
        return None
    found = [
        (len(start), name) for name, starts in DOMAINS.items() for start in starts if where.startswith(start)
    ]
    return max(found)[1]


def extracted(package: Path) -> dict[str, dict[str, list[Message]]]:
    """By catalogue and text, each place that says it."""
    found: dict[str, dict[str, list[Message]]] = {name: {} for name in DOMAINS}
    found["words"] = {word: [Message(word, (), "")] for word in (*WORDS, *FOREIGN, *SYSTEM)}
    for file in sorted(package.rglob("*.py")):
        domain = domain_of(file.relative_to(package).as_posix())
        if domain is not None:
            for message in messages(file, package.parent):
                found[domain].setdefault(message.text, []).append(message)
    seen: dict[str, list[Message]] = {}
    for by_text in found.values():
        for text in [text for text in by_text if text in seen]:
            seen[text] += by_text.pop(text)
        seen |= by_text
    return found
