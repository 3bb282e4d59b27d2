"""Writes the documentation pages of the rules from their docstrings: `python -m gradscope.rules.pages DIR`.

The program owns the folder: it removes the page of a rule that no longer exists.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gradscope.rules.base import Rule
from gradscope.rules.registry import all_rules

HEADINGS = (
    "## What it does",
    "## Why is this bad",
    "## How it is measured",
    "## Limits",
    "## Example",
    "## What it does not say",
    "## Source",
)
MARK = "<!-- Generated from the rule's docstring by `python -m gradscope.rules.pages`: edit the rule. -->"


def faults(rule: Rule) -> list[str]:
    """What is missing in a page: a heading or its order, the explanation of a limit, a remedy in code."""
    lines = rule.page.splitlines()
    found = [line for line in lines if line.startswith("## ")]
    wrong = [f"no heading {heading!r}" for heading in HEADINGS if heading not in found]
    if not wrong and tuple(found) != HEADINGS:
        wrong.append(f"the headings are in the order {found}")
    limits = rule.page.partition("## Limits")[2].partition("\n## ")[0]
    wrong += [
        f"limit {name!r} is not explained under ## Limits" for name in rule.limits if f"`{name}" not in limits
    ]
    if "Use instead" not in rule.page:
        wrong.append("the example has no 'Use instead'")
    return wrong


def page(rule: Rule) -> str:
    limits = ", ".join(f"`{name} = {value:g}`" for name, value in rule.limits.items()) or "none"
    facts = f"Family: {rule.family}. Highest severity: {rule.severity.value}. Limits: {limits}."
    return (
        f"{MARK}\n# {rule.name}\n\n{rule.page.replace(rule.summary, rule.summary + chr(10) * 2 + facts, 1)}\n"
    )


def index() -> str:
    rows = [
        f"| [`{r.name}`]({r.name}.md) | {r.family} | {r.severity.value} | {r.summary} |" for r in all_rules()
    ]
    table = "\n".join(["| rule | family | highest severity | what it finds |", "|---|---|---|---|", *rows])
    return f"{MARK}\n# Rules\n\n`gradscope explain RULE` prints these pages.\n\n{table}\n"


def rendered() -> dict[str, str]:
    """The contents by file name. Raises `SystemExit` on a page with a fault."""
    for rule in all_rules():
        if wrong := faults(rule):
            raise SystemExit(f"{rule.name}: {'; '.join(wrong)}")
    return {f"{rule.name}.md": page(rule) for rule in all_rules()} | {"README.md": index()}


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pages = rendered()
    for stale in folder.glob("*.md"):
        if stale.name not in pages and stale.read_text(encoding="utf-8").startswith(MARK):
            stale.unlink()
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/rules"))
