"""A hook of mkdocs: puts the pages of the site together before they are read.

The documents link to each other by their places in the repository, where they are read without a site, too.
So the same tree is made anew, with what a site has besides: a page of the public names from their docstrings,
and an index of the decisions.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
COPIED = ("README.md", "README.ja.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs", "sample_models")
LEFT_OUT = shutil.ignore_patterns("__pycache__", "site_pages.py")


def on_config(config: Any) -> Any:
    """Called with the settings; what it makes is removed when the site stands."""
    pages = Path(tempfile.mkdtemp(prefix="gradscope-site-"))
    assemble(pages)
    config["docs_dir"] = str(pages)
    return config


def on_post_build(config: Any) -> None:
    shutil.rmtree(config["docs_dir"], ignore_errors=True)


def assemble(pages: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, pages / name, ignore=LEFT_OUT)
        else:
            shutil.copy(ROOT / name, pages / name)
    (pages / "docs/api.md").write_text(reference(), encoding="utf-8")
    (pages / "docs/decisions/README.md").write_text(decisions(), encoding="utf-8")
    for page in (pages / "docs/index.md", pages / "CONTRIBUTING.md"):
        text = page.read_text(encoding="utf-8")
        page.write_text(text.replace("decisions/)", "decisions/README.md)"), encoding="utf-8")


def reference() -> str:
    """Every public name; its signature and docstring are filled in by mkdocstrings."""
    from gradscope import __all__ as names

    parts = ["# The library, by name", "[From Python](library.md) tells how they go together."]
    return "\n\n".join([*parts, *(f"::: gradscope.{name}" for name in names)]) + "\n"


def decisions() -> str:
    """The titles, in their order."""
    files = sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))
    titles = [(file.name, file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")) for file in files]
    return "\n".join(["# Decisions", "", *(f"- [{title}]({name})" for name, title in titles)]) + "\n"
