"""HTML: one file that acts on nothing, whatever a model is called, and says all that the records hold."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from gradscope.records import (
    BaselineResult,
    BaselineStatus,
    ElementCheck,
    Excerpt,
    FailureKind,
    GradientCheck,
    Histogram,
    KnownFinding,
    Operation,
    Origin,
    Outcome,
    Report,
    RuleCheck,
    Skipped,
    Source,
    Suite,
    TargetError,
    Timing,
    Transposition,
    Verdict,
    Verification,
    Votes,
)
from gradscope.records.nonfinite import Cause
from gradscope.report.html import fragment, page
from gradscope.report.html.markup import Frame, tick
from gradscope.report.html.page import POLICY, style
from gradscope.report.html.rule_pages import blocks
from gradscope.report.shared import units
from gradscope.report.shared.columns import COLUMNS
from gradscope.report.shared.glyphs import visible
from tests.recording import made as recorded
from tests.report.canned import CANNED, broken, compared, deep, healthy, layer, monitored, report, searched
from tests.report.html_pages import HOSTILE, Page
from tests.report.pages import shown

ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "section", "article", "figure"),
    *("figcaption", "h1", "h2", "h3", "h4", "h5", "p", "b", "i", "a", "code", "pre", "small", "span", "bdi"),
    *("div", "ol", "ul", "li", "dl", "dt", "dd", "table", "caption", "thead", "tbody", "tr", "th", "td"),
    *("details", "summary", "svg", "path", "rect"),
}
"""Nothing that runs, loads or sends."""


def of(run: Report) -> str:
    return page(Suite.of(run))


def named(name: str) -> Report:
    """A report in which everything that a user can name has this name."""
    source = Source(f"{name}.py", 3, name)
    layers = (layer(name, 0.01, source=source, kind=name), layer(f"{name}.2", 1e-9))
    finding = replace(
        broken().findings[0],
        layer=name,
        source=source,
        message=f"Said of `{name}`, and of {name}.",
        remedy=name,
        rule=name,
        evidence={name: name},
    )
    made = report(name, layers, (finding,))
    cells = tuple(replace(each, name=name, source=source) for each in broken().flow.recurrences)
    measurement = replace(made.flow, recurrences=cells, unseen=(Skipped(name, name),))
    verified = Verification(1.0, (checked(name),))
    taken = recorded.history(3, recorded.step, (name, f"{name}.2"))
    history = replace(taken, optimizer=name, own=False)
    made = replace(made, history=history, gradients=verified)
    return replace(made, flow=measurement, skipped=(Skipped(name, name),), notes=(name,))


def checked(name: str, verdict: Verdict = Verdict.WRONG) -> GradientCheck:
    return GradientCheck(
        name, name, verdict, "", f"twice as much at {name}", 3, 0.2468, 0.1234, 0.1, 0.001, 1e-3, "float32"
    )


def suite() -> Suite:
    trouble = TargetError(
        FailureKind.TIMEOUT, "`slow.py` did not end in 60 s.", "It compiles.", "Give --timeout 600."
    )
    return Suite(
        (
            Outcome("model.py", healthy()),
            Outcome("weird dir/model.py", broken()),
            Outcome("slow.py", error=trouble),
        )
    )


@pytest.mark.parametrize("name", CANNED)
def test_each_page_is_whole_and_acts_on_nothing(name: str) -> None:
    found = Page(of(CANNED[name]()))
    assert found.names <= ALLOWED
    attributes = {key for _, each in found.elements for key in each}
    assert not {key for key in attributes if key.startswith("on")}
    assert not attributes & {"src", "srcset", "action", "formaction", "background", "xlink:href"}
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in found.elements
    assert "url(" not in style()
    assert "@import" not in style()


@pytest.mark.parametrize("run", [*(Suite.of(make()) for make in CANNED.values()), suite()])
def test_links_lead_to_places_of_the_same_page(run: Suite) -> None:
    found = Page(page(run))
    ids = found.every("id")
    assert len(ids) == len(set(ids))
    assert all(link.startswith("#") for link in found.every("href"))
    assert {link[1:] for link in found.every("href")} <= set(ids)
    assert set(found.every("aria-labelledby")) <= set(ids)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_text(name: str) -> None:
    for text in (of(named(name)), fragment(named(name))):
        found = Page(text)
        assert found.names <= ALLOWED
        assert found.text.count(visible(name)) >= 8
        assert all(char.isprintable() or char == "\n" for char in text)


def test_headings_go_down_one_level_at_a_time() -> None:
    for run in (*(Suite.of(make()) for make in CANNED.values()), suite()):
        levels = [level for level, _ in Page(page(run)).headings]
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after <= before + 1 for before, after in itertools.pairwise(levels))


def test_the_verdict_comes_first() -> None:
    for make, word in ((healthy, "healthy"), (broken, "sick"), (compared, "adam"), (searched, "0.01")):
        run = make()
        assert Page(of(run)).headings[0][1] == f"{word} {run.target}"


@pytest.mark.parametrize("make", [broken, healthy, deep, lambda: deep(1000)])
def test_every_layer_stands_as_text_with_its_numbers(make: object) -> None:
    run = make()  # type: ignore[operator]
    text = of(run)
    cells = Page(text).texts
    for each in run.flow.layers:
        assert visible(each.name) in cells
        assert units.cell(each.delta_rms) in cells
    assert text.count("<tr id=") == len(run.flow.layers)


@pytest.mark.parametrize("make", [broken, deep, lambda: deep(300), compared, searched, monitored])
def test_every_figure_says_what_it_shows_and_has_a_table(make: object) -> None:
    text = of(make())  # type: ignore[operator]
    drawings = re.findall(r"<svg.*?</svg>", text)
    assert drawings
    for drawing in drawings:
        told = re.match(r'<svg[^>]* role="img" aria-label="[^"]+"><title>', drawing)
        assert told or 'aria-hidden="true"' in drawing, drawing[:300]
    for section in re.findall(r"<section.*?</section>", text, re.DOTALL):
        if "<svg" in section:
            assert "<table>" in section or 'href="#layers">The same numbers as a table' in section


def test_what_is_not_finite_zero_or_not_measured_is_drawn_and_told() -> None:
    layers = tuple(layer(f"l{i}", value) for i, value in enumerate((1.0, 0.0, None, float("nan"), 1e-3)))
    found = Page(of(report("m.py", layers)))
    (odd,) = (attributes["d"] for _, attributes in found.elements if attributes.get("class") == "odd")
    assert odd.count("M") == 2  # an arrow head and a cross
    for word in ("not finite", "exactly zero", "A gap was not measured"):
        assert word in found.text


def test_a_line_is_broken_where_a_value_is_missing() -> None:
    layers = tuple(layer(f"l{i}", value) for i, value in enumerate((1.0, 0.5, None, 0.1, 0.2)))
    lines = [a["d"] for _, a in Page(of(report("m.py", layers))).elements if a.get("class") == "line delta"]
    assert [line.count("M") for line in lines] == [2]


def test_the_column_of_findings_is_there_where_a_layer_has_one() -> None:
    heads = re.compile(r'<th scope="col"[^>]*>findings</th>')
    assert heads.search(of(broken()))
    assert not heads.search(of(healthy()))


def test_several_targets_have_a_table_that_leads_to_each() -> None:
    found = Page(page(suite()))
    assert found.headings[0] == (1, "sick 3 targets")
    assert {"#t1", "#t2", "#t3"} <= set(found.every("href"))
    assert "slow.py did not end in 60 s. It compiles." in found.text
    assert "Give --timeout 600." in found.text
    assert [text for level, text in found.headings if level == 2] == [
        "healthy model.py",
        "sick weird dir/model.py",
        "not judged slow.py",
    ]


def test_findings_have_their_line_their_remedy_and_their_standing() -> None:
    run = broken()
    first, second, third = run.findings
    found = (
        replace(first, baseline_status=BaselineStatus.UNCHANGED, votes=Votes(4, 5)),
        replace(second, baseline_status=BaselineStatus.WORSE),
        replace(third, baseline_status=BaselineStatus.NEW),
    )
    fixed = KnownFinding("dead-units", "gone.layer", None, "x", {})
    run = replace(run, findings=found, baseline=BaselineResult("base.json", (fixed,), "Write it again."))
    text = Page(of(run)).text
    for each in found:
        assert each.source is not None
        assert visible(f"{each.source.line}{each.source.text}") in text
        assert each.remedy.replace("`", "") in text
    for word in ("known: in the baseline · in 4 of 5 seeds", "worse than", "new since", "fixed: dead-units"):
        assert word in text
    assert "The baseline is stale. Write it again." in text


def test_what_verify_and_the_search_for_an_origin_found_is_shown() -> None:
    step = Operation("exp", Source("m.py", 7, "jnp.exp(x)"), 0.0, 9.5, 2)
    origin = Origin(
        "log", (0.0,), float("-inf"), ("exp",), False, Cause.LOG_OF_ZERO, None, elements=2, size=8
    )
    rule = RuleCheck(
        "swish", "custom_vjp", "x", Verdict.WRONG, "half of it", 0.5, 0.5, 1e-6, 1, Source("m.py", 9)
    )
    base = broken()
    run = replace(
        base,
        flow=replace(base.flow, origin=replace(origin, elements=2, size=8, lead_up=(step,))),
        gradients=Verification(
            1.0,
            (checked("head.w"), checked("head.b", Verdict.RIGHT)),
            elements=(ElementCheck("head.w", (1, 2), Verdict.WRONG, 0.5, 0.25, 1e-3),),
            custom_rules=(rule,),
            transposition=Transposition(Verdict.RIGHT, "", 1.5, 1.5, 1e-6),
        ),
    )
    text = Page(of(run)).text
    for word in (
        "1 right, 1 wrong",
        "0.247",
        "0.123",
        "head.w[1, 2]",
        "swish custom_vjp",
        "right (1.5 and 1.5)",
    ):
        assert word in text
    assert "0 to 9.5, 2 elements not finite" in text
    assert "Then 2 of 8 elements not finite." in text


def test_without_timing_no_time_is_told() -> None:
    text = Page(of(replace(healthy(), timing=Timing()))).text
    assert "compile" not in text
    assert "Environment" in text
    assert "compile2.4 s" in Page(of(healthy())).text


def test_optimizers_are_shown_with_their_curves_and_every_rate() -> None:
    found = Page(of(compared()))
    drawings = [each["aria-label"] for name, each in found.elements if name == "svg"]
    assert any(label.startswith("loss of adam over 10 steps") for label in drawings)
    assert any(
        label.startswith("final loss of adam over the learning rate: 0.01: 0.45") for label in drawings
    )
    assert "optimizer = optax.adam(0.01)" in found.text
    assert "With 3 seeds there is no significant difference between adam and sgd." in found.text


def test_the_same_run_is_the_same_page() -> None:
    assert of(broken()) == of(broken())
    assert shown(broken(), "html") == of(broken())


def test_a_page_is_small() -> None:
    """Without its sheet a layer costs less than half a kilobyte of table and drawing."""
    assert len(of(deep(24)).encode()) < 50_000
    assert len(of(deep(2000)).encode()) < 1_100_000


def test_two_fragments_in_one_page_do_not_meet() -> None:
    one, two = Page(fragment(deep(24))), Page(fragment(healthy()))
    assert not set(one.every("id")) & set(two.every("id"))
    assert {link[1:] for link in one.every("href")} <= set(one.every("id"))
    assert one.elements[0] == ("div", {"class": "gradscope part"})
    assert fragment(healthy()) == fragment(healthy())


def test_the_sheet_styles_nothing_outside_of_the_report() -> None:
    depth, outer = 0, []
    for piece in re.findall(r"[^{}]+\{|\}", style()):
        if piece == "}":
            depth -= 1
            continue
        selector = piece[:-1].strip().rsplit(";")[-1].strip()
        if depth == 0 and not selector.startswith("@"):
            outer.append(selector)
        depth += 1
    assert outer
    assert all(selector.split()[-1].startswith(".gradscope") for selector in outer)


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(char * 2 for char in color[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [0, 1, 2], ids=["light", "dark", "print"])
def test_text_stands_out_from_its_ground(theme: int) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for text of normal size."""
    screen, paper = re.findall(r"--paper: [^}]*?--other: [^;]+;", style())
    pairs = {name: colors for name, *colors in re.findall(r"--(\w+): light-dark\((#\w+), (#\w+)\)", screen)}
    printed = dict(re.findall(r"--(\w+): (#\w+)", paper))
    assert set(pairs) == set(printed)
    colors = printed if theme == 2 else {name: both[theme] for name, both in pairs.items()}
    for ground in ("paper", "wash"):
        for ink in ("ink", "quiet", "accent", "error", "warning", "healthy"):
            bright, dark = sorted((luminance(colors[ground]), luminance(colors[ink])), reverse=True)
            assert (bright + 0.05) / (dark + 0.05) >= 4.5, (ground, ink)


def test_a_loss_that_falls_far_stands_on_a_log_scale() -> None:
    run = compared()
    best, *others = run.optimizers.contestants  # type: ignore[union-attr]
    assert "on a log scale" not in Page(of(run)).text
    found = replace(run.optimizers, contestants=(replace(best, final_loss=1e-5), *others))  # type: ignore[type-var]
    text = Page(of(replace(run, optimizers=found))).text
    assert "The loss is on a log scale." in text
    assert "10⁻⁴" in text


def test_of_very_many_targets_those_without_findings_are_told_briefly() -> None:
    many = (*(Outcome(f"m{i}.py", healthy()) for i in range(500)), Outcome("bad.py", broken()))
    text = page(Suite(many))
    assert len(text.encode()) < 1_000_000
    found = Page(text)
    assert "healthy m499.py" in [heading for _, heading in found.headings]
    assert "The network, layer by layer" in text
    assert text.count("<tr id=") == len(broken().flow.layers)
    assert "are left out here" in found.text


def counted(*names: str) -> Report:
    found = [
        Histogram(name, of, -9, (1, 40, 55, 3), 12, 1) for of in ("weight", "gradient") for name in names
    ]
    empty = Histogram("empty", "gradient", 0, (), 5, 0)
    run = healthy()
    histograms = (*found, Histogram("empty", "weight", 0, (), 5, 0), empty)
    return replace(run, flow=replace(run.flow, histograms=histograms))


def test_histograms_are_drawn_told_and_tabled() -> None:
    found = Page(of(counted("layers[0]", HOSTILE[0])))
    assert found.names <= ALLOWED
    labels = [each["aria-label"] for name, each in found.elements if name == "svg" and "aria-label" in each]
    told = "112 elements, most from 0.000316 to 0.001, 11% zero, 1 element not finite"
    assert f"gradient of layers[0]: {told}" in labels
    assert "weight of empty: 5 elements, 100% zero" in labels
    assert found.text.count(HOSTILE[0]) >= 4
    bars = [each["d"] for _, each in found.elements if each.get("class") == "bar-weight"]
    assert bars[0] == "M1 10V9.8H2V3.5H3V1H4V9.5H5V10z"


def test_of_many_layers_some_histograms_are_drawn_and_all_are_tabled() -> None:
    found = Page(of(counted(*(f"l{i}" for i in range(300)))))
    assert "100 of 301 layers are drawn." in found.text
    assert all(found.texts.count(f"l{i}") >= 2 for i in range(300))


def test_a_finding_links_to_the_text_of_its_rule_which_is_kept_in_the_page() -> None:
    finding = replace(broken().findings[0], rule="vanishing-gradient")
    found = Page(of(replace(broken(), findings=(finding,))))
    links = [each.get("href") for name, each in found.elements if name == "a"]
    assert "#rule-vanishing-gradient" in links
    assert "Follows δ = ∂L/∂z" in found.text
    assert "## " not in found.text
    unknown = Page(of(replace(broken(), findings=(replace(finding, rule="of-another-version"),))))
    assert "#rule-of-another-version" not in [
        each.get("href") for name, each in unknown.elements if name == "a"
    ]


def test_rule_pages_are_laid_out() -> None:
    text = "## What\nOne `name`\nline.\n\n- first\n  goes on\n- second\n\n    code\n\n    more\n\nEnd."
    html = "".join(blocks(text, Frame()))
    assert html == (
        "<h3>What</h3><p>One <code>name</code> line.</p><ul><li>first goes on</li><li>second</li></ul>"
        '<pre tabindex="0"><code>code\n\nmore</code></pre><p>End.</p>'
    )


def test_a_layer_without_any_gradient_says_so() -> None:
    report = deep()
    silent = replace(report.flow.layers[3], gradient_max=0.0)
    layers = (*report.flow.layers[:3], silent, *report.flow.layers[4:])
    text = Page(of(replace(report, flow=replace(report.flow, layers=layers)))).text
    assert text.count("gradient 0") == 2, "in the picture and in the table"
    assert "The whole gradient of 1 layer is exactly zero." in text
    assert "gradient 0" not in Page(of(report)).text


def test_the_page_says_what_delta_and_each_column_are() -> None:
    text = Page(of(deep())).text
    assert "δ = ∂L/∂z is the gradient of the loss with respect to the output z" in text
    for column in COLUMNS:
        assert column.only_if_any or column.meaning in text


def test_labels_at_the_ends_of_an_axis_stay_inside() -> None:
    assert 'class="start"' in tick("0", 0.0, "0")
    assert 'class="end"' in tick("200", 100.0, "100")
    assert "class" not in tick("100", 50.0, "50")


def test_the_line_of_a_finding_stands_among_its_neighbours() -> None:
    finding = replace(broken().findings[0], source=Source("m.py", 12, "h = f(x)"))
    around = Excerpt("m.py", 11, ("    def f(x):", "        h = f(x)", "        return <h>"))
    page = of(replace(broken(), findings=(finding,), excerpts=(around,)))
    assert '<span class="beside"><span class="line-number">11</span><code>def f(x):</code></span>' in page
    assert '<span><span class="line-number">12</span><code>    h = f(x)</code></span>' in page
    assert "return &lt;h&gt;" in page
    alone = of(replace(broken(), findings=(finding,)))
    assert '<span class="line-number">12</span><code>h = f(x)</code>' in alone
    assert 'class="beside"' not in alone
