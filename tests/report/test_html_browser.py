"""The page in a real browser: it asks for nothing, complains of nothing, and stays in its width."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from gradscope.records import Suite
from gradscope.report.html import page
from gradscope.report.shared.glyphs import visible
from tests.report.browser import Visit, trap, visit
from tests.report.canned import broken, deep, monitored_history
from tests.report.html_pages import HOSTILE, Page
from tests.report.test_html import ALLOWED, named, suite

MEASURE = """
<script>
addEventListener("load", () => {
  const tops = (items) => [...items].map((item) => item.getBoundingClientRect());
  const rows = tops(document.querySelectorAll(".block li"));
  const drawings = tops(document.querySelectorAll(".block svg"));
  document.body.dataset.measured = JSON.stringify({
    width: innerWidth, needed: document.documentElement.scrollWidth,
    rows: [rows[0].top, rows.at(-1).bottom], drawings: drawings.map((it) => [it.top, it.bottom, it.width]),
    color: getComputedStyle(document.querySelector("h1 span")).color,
  });
});
</script>
"""


def attacks(address: str) -> list[str]:
    return [
        f"<img src={address}/img>",
        f'"><script src="{address}/script"></script>',
        f"</style><style>@import '{address}/style';</style>",
        f"</title><link rel=stylesheet href={address}/link>",
        f"x);background:url({address}/url)",
        f'" style="background:url({address}/attribute)',
        f"<svg><use href='{address}/use'/></svg>",
        f"<iframe src={address}/frame></iframe>",
        *HOSTILE,
    ]


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], list[str], Visit]:
    """The names, what was asked for while the page was open, and the page."""
    file = tmp_path_factory.mktemp("browser") / "report.html"
    with trap() as (address, asked):
        names = attacks(address)
        reports = [named(name) for name in names]
        outcomes = tuple(outcome for report in reports for outcome in Suite.of(report).outcomes)
        file.write_text(page(Suite((*outcomes, *suite().outcomes))), encoding="utf-8")
        return names, asked, visit(file)


def test_nothing_leaves_the_file(attacked: tuple[list[str], list[str], Visit]) -> None:
    _, asked, _ = attacked
    assert asked == []


def test_the_console_is_silent(attacked: tuple[list[str], list[str], Visit]) -> None:
    """That is where a refused style or script would be told."""
    *_, seen = attacked
    assert seen.console == []


def test_hostile_names_are_text_and_made_no_element(attacked: tuple[list[str], list[str], Visit]) -> None:
    names, _, seen = attacked
    found = Page(seen.dom)
    assert found.names <= ALLOWED
    assert not [key for _, each in found.elements for key in each if key.startswith("on")]
    for name in names:
        assert found.text.count(visible(name)) >= 8, name


def test_layers_are_found_by_their_names(attacked: tuple[list[str], list[str], Visit]) -> None:
    *_, seen = attacked
    texts = Page(seen.dom).texts
    assert all(visible(layer.name) in texts for layer in broken().flow.layers)


def test_the_traps_would_be_sprung(tmp_path: Path) -> None:
    """Without this the two silences above would say nothing."""
    file = tmp_path / "bad.html"
    with trap() as (address, asked):
        file.write_text(
            f'<!doctype html><img src="{address}/img"><script>nothing()</script>', encoding="utf-8"
        )
        seen = visit(file)
    assert "/img" in asked
    assert any("nothing is not defined" in line for line in seen.console)


def test_rows_stand_on_their_drawing_and_the_page_fits_in_the_dark(tmp_path: Path) -> None:
    """Copies of the page with a script that measures them; in frames, because a window has a least width."""
    shown = replace(deep(24), history=monitored_history())
    inner = page(Suite.of(shown)).replace("</body>", f"{MEASURE}</body>")
    inner = _attribute(re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*/>', "", inner))
    widths = (420, 1200)
    frames = "".join(f'<iframe width={width} height=900 srcdoc="{inner}"></iframe>' for width in widths)
    each = "for (const frame of document.querySelectorAll('iframe'))"
    tell = f"{each} document.body.append(frame.contentDocument.body.dataset.measured)"
    file = tmp_path / "frames.html"
    file.write_text(f"<!doctype html>{frames}<script>onload = () => {{ {tell} }}</script>", encoding="utf-8")
    dom = visit(file, "--blink-settings=preferredColorScheme=0").dom
    measured = [json.loads(found) for found in re.findall(r"\{[^{}]*\}", dom.rpartition("</script>")[2])]
    assert [found["width"] for found in measured] == list(widths)
    for found in measured:
        assert found["needed"] <= found["width"]
        for top, bottom, width in found["drawings"]:
            assert [top, bottom] == pytest.approx(found["rows"], abs=0.5)
            assert width > found["width"] * 0.15
        assert found["color"] == "rgb(255, 142, 132)"


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;")


@pytest.mark.parametrize("system", ["dark", "light"])
def test_in_a_notebook_a_report_has_the_theme_of_the_notebook(tmp_path: Path, system: str) -> None:
    """Whatever the system has; where nothing says which, that of the system."""
    notebooks = {
        "jupyterlab-dark": ('data-jp-theme-light="false"', "dark"),
        "jupyterlab-light": ('data-jp-theme-light="true"', "light"),
        "code-dark": ('data-vscode-theme-kind="vscode-dark"', "dark"),
        "code-light": ('data-vscode-theme-kind="vscode-light"', "light"),
        "other": ("", system),
    }
    shown = broken()._repr_html_()
    cells = "".join(f"<section {theme}>{shown}</section>" for theme, _ in notebooks.values())
    each = "const has = getComputedStyle(it.querySelector('.gradscope')); return has.color + has.background"
    look = f"[...document.body.children].map((it) => {{ {each} }})"
    tell = f"onload = () => {{ document.title = JSON.stringify({look}); }}"
    file = tmp_path / "notebook.html"
    file.write_text(f"<!doctype html><script>{tell}</script><body>{cells}</body>", encoding="utf-8")
    seen = visit(file, f"--blink-settings=preferredColorScheme={0 if system == 'dark' else 1}")
    found = json.loads(re.search(r"<title>(.*?)</title>", seen.dom)[1].replace("&quot;", '"'))
    inks = {
        "dark": ("rgb(235, 232, 225)", "rgb(22, 22, 21)"),
        "light": ("rgb(29, 28, 26)", "rgb(255, 254, 251)"),
    }
    for text, (name, (_, theme)) in zip(found, notebooks.items(), strict=True):
        assert text.startswith("".join(inks[theme])), name
